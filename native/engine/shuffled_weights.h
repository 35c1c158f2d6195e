// A model of the same shape that has learned nothing, or whose last layers have: the sanity checks of Adebayo et al.,
// NeurIPS 2018.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sightline {

struct Shuffling {
  uint64_t seed = 0;
  std::vector<std::string> layers;  // paths of modules whose parameters are shuffled, with those below; none: all are
};

// Shuffles the numbers within each parameter, so that each keeps its distribution and nothing that was learned stays.
// A parameter is shuffled in the same way whatever else is. Buffers stay as they are: they also hold masks and indices.
// Throws EngineError METHOD_NOT_APPLICABLE where there is no parameter to shuffle, UNKNOWN_NODE where a layer has none.
void shuffle_weights(torch::jit::Module& module, const Shuffling& shuffling);

}  // namespace sightline
