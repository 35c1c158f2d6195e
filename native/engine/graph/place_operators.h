// What operators do to the places of their entries.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <initializer_list>

namespace sightline {

// Whether the node is one of these, in full precision or quantised.
bool is_one_of(const torch::jit::Node* node, std::initializer_list<const char*> names);
// Each element of the output is one of the input's.
bool moves_elements(const torch::jit::Node* node);
// Of the same shape as their first input, entry by entry or scaled by their neighbours.
bool keeps_shape(const torch::jit::Node* node);
// What comes of it does not depend on what the image's values are: sizes, and tensors that are made like another.
bool tells_sizes(const torch::jit::Node* node);
// Convolutions, pooling and resizing: windows that slide over rows and columns.
bool is_window(const torch::jit::Node* node);
// Sums, means and their like over axes.
bool is_reduction(const torch::jit::Node* node);

}  // namespace sightline
