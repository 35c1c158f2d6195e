// Where gradients are taken with respect to: nothing before a leaf is recorded.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <vector>

#include "engine/programs/request.h"

namespace sightline {

// Puts a leaf at each tap with a gradient that no other such tap comes before: one on a later tap would cut the flow to the
// earlier. `taps`: the value of each request; those that got a leaf are moved to it. Returns the leaves.
std::vector<torch::jit::Value*> place_leaves(torch::jit::Graph& graph, const std::vector<TapRequest>& requests,
                                             std::vector<torch::jit::Value*>& taps);

}  // namespace sightline
