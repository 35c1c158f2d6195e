// A convolution in a graph, in whichever of its two spellings.
#pragma once

#include "engine/graph/graph_ops.h"

namespace sightline {

struct ConvolutionNode {
  torch::jit::Value* input;
  at::Tensor weight, bias;  // `bias` undefined where there is none
  std::vector<int64_t> stride, padding, dilation;
  int64_t groups;
};

// Whether it is a convolution of images, whatever can be read of it.
bool is_convolution(const torch::jit::Node* node);

// Two-dimensional, not transposed, with constant weights and settings; none where it is another.
std::optional<ConvolutionNode> read_convolution(const torch::jit::Node* node);

}  // namespace sightline
