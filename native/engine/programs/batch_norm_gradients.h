// Gradients of batch norms that are right for a single image too.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace sightline {

// LibTorch 2.13 takes the gradient of a batch norm wrong where there is one image and either the values or their gradient come
// from [1, tokens, channels]: a view of those as a map lies in no order that its kernel tells from the usual one. Here each batch norm in
// inference mode gets a backward pass of its own, which multiplies by what the norm multiplies each channel by. Values stay what they are.
void settle_batch_norm_gradients(torch::jit::Graph& graph);

}  // namespace sightline
