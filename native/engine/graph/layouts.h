// What the axes of a straight graph's values are, and what those are called.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <optional>
#include <string>

#include "engine/graph/facts.h"
#include "engine/graph/places.h"
#include "engine/graph/straighten.h"

namespace sightline {

// As followed through the graph; `Other` where a value's axes are not those of an image, or are not known.
Layout layout_of(const torch::jit::Value* value, const Places& places);
// Where the patches of a value [batch, tokens, channels] lie.
std::optional<PatchGrid> grid_of(const torch::jit::Value* value, const Places& places);
// Whether it has more places than one, and it is known where they lie.
bool has_space(const NodeInfo& node);
// Such as "conv2d" or "batch_norm".
std::string operator_name(const torch::jit::Node* node);
// The module that an operator is in; without one, the first that reads it. Empty where there is none.
std::string module_near(const StraightGraph& straight, const torch::jit::Node* node);
// The shortest of a value's names; empty where it has none.
std::string name_of(const StraightGraph& straight, const torch::jit::Value* value);
// The tensor that a value holds, where it is a constant.
std::optional<at::Tensor> constant_tensor(const torch::jit::Value* value);

}  // namespace sightline
