// Attention that is one operator, opened to its parts.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <optional>

namespace sightline {

// Replaces torchvision's `_native_multi_head_attention` by linear, scaled_dot_product_attention and linear, wherever
// its settings are constants, and `_transformer_encoder_layer_fwd` by the layer's parts. They have neither weights to tap nor
// a derivative.
void open_native_multi_head_attention(torch::jit::Graph& graph);

// Replaces a fused attention by matmul, softmax and matmul in `graph`; returns the probabilities
// [batch, heads, tokens, tokens]. `mask_dtype` is that of the traced mask, none without one. In float32 whatever the
// dtype of the model, as the fused kernels themselves accumulate.
torch::jit::Value* open_scaled_dot_product(torch::jit::Graph& graph, torch::jit::Node* node, int64_t head_size,
                                           std::optional<at::ScalarType> mask_dtype,
                                           std::optional<at::ScalarType> model_dtype);

}  // namespace sightline
