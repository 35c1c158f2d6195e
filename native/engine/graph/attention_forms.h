// The forms in which exporters write attention, and how each is opened to its probabilities.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sightline {

struct StraightGraph;

// One attention: softmax(q k^T * scale + mask) v.
struct AttentionSite {
  enum class Form { ScaledDotProduct, Softmax };
  Form form;
  // The module in whose code it stands ("blocks.0.attn"); "attention[i]" where modules are gone.
  std::string name;
  // Queries, keys and values, each [batch, heads, tokens, head size] (or [batch * heads, tokens, head size] where the
  // export folds heads into the batch), before any scaling.
  torch::jit::Value* query = nullptr;
  torch::jit::Value* key = nullptr;
  torch::jit::Value* value = nullptr;
  // Whether `key` is still transposed, [..., head size, tokens].
  bool key_is_transposed = false;
  // Form::Softmax: the probabilities. Form::ScaledDotProduct: the fused operator's output.
  torch::jit::Value* result = nullptr;
  int64_t heads = 0;
  int64_t tokens = 0;  // queries
  int64_t keys = 0;    // as many as tokens in self-attention
  int64_t head_size = 0;
  // Windows per image: 1 for global attention, more for Swin.
  int64_t windows = 1;
  // Whether heads are folded into the batch.
  bool folded = false;
  // Empty, or why the probabilities cannot be tapped.
  std::string opaque;
};

// Replaces torchvision's `_native_multi_head_attention` by linear, scaled_dot_product_attention and linear, wherever
// its settings are constants, and `_transformer_encoder_layer_fwd` by the layer's parts. They have neither weights to tap nor
// a derivative.
void open_native_multi_head_attention(torch::jit::Graph& graph);

// All attention of a straight graph in the order of execution. `unknown` counts the softmaxes that look like attention but
// are not of a known form (cross-covariance, talking heads).
std::vector<AttentionSite> find_attention(const StraightGraph& straight, int64_t& unknown);

// Replaces a fused attention by matmul, softmax and matmul in `graph`; returns the probabilities
// [batch, heads, tokens, tokens]. `mask_dtype` is that of the traced mask, none without one. In float32 whatever the
// dtype of the model, as the fused kernels themselves accumulate.
torch::jit::Value* open_scaled_dot_product(torch::jit::Graph& graph, torch::jit::Node* node, int64_t head_size,
                                           std::optional<at::ScalarType> mask_dtype,
                                           std::optional<at::ScalarType> model_dtype);

}  // namespace sightline
