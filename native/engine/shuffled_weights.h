// A model of the same shape that has learned nothing: the sanity check of Adebayo et al., NeurIPS 2018.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <cstdint>

namespace sightline {

// Shuffles the numbers within each parameter, so that each keeps its distribution and nothing that was learned stays.
// Buffers stay as they are: they also hold masks and indices. Throws EngineError METHOD_NOT_APPLICABLE where there is no
// parameter to shuffle.
void shuffle_weights(torch::jit::Module& module, uint64_t seed);

}  // namespace sightline
