// The forms in which exporters write attention.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/graph/facts.h"

namespace sightline {

class Places;
struct StraightGraph;

// One attention: softmax(q k^T * scale + mask) v.
struct AttentionSite {
  enum class Form { ScaledDotProduct, Softmax };
  Form form;
  // The module in whose code it stands ("blocks.0.attn"); "attention[i]" where modules are gone.
  std::string name;
  // Queries, keys and values, each [batch, heads, tokens, head size] or as `batch` says, before a scale that is a number.
  torch::jit::Value* query = nullptr;
  torch::jit::Value* key = nullptr;
  torch::jit::Value* value = nullptr;
  // Whether `key` and `value` are still transposed, [..., head size, tokens].
  bool key_is_transposed = false;
  bool value_is_transposed = false;
  // Form::Softmax: the probabilities. Form::ScaledDotProduct: the fused operator's output.
  torch::jit::Value* result = nullptr;
  // Probabilities times values: [..., tokens, value size], or transposed where `value` is.
  torch::jit::Value* product = nullptr;
  int64_t heads = 0;
  int64_t tokens = 0;  // queries
  int64_t keys = 0;    // as many as tokens in self-attention
  int64_t head_size = 0;
  int64_t value_size = 0;
  // Where the patches among its queries lie; of attention over the whole image, where they are in the order of rows.
  std::optional<PatchGrid> grid;
  // Windows per image: 1 for global attention, more for Swin.
  int64_t windows = 1;
  // The axes before the last two.
  enum class Batch {
    Heads,             // [batch (of windows), heads]
    HeadsFolded,       // [batch * heads]
    WindowsThenHeads,  // [batch, windows, heads]
    HeadsThenWindows,  // [batch, heads, windows]
    Windows,           // [batch, windows], one head
  };
  Batch batch = Batch::Heads;
  // Empty, or why the probabilities cannot be tapped.
  std::string unsupported;
  // Empty, or why the probabilities are not what values are mixed by.
  std::string altered;
};

// All attention of a straight graph in the order of execution: softmax(q k^T) v with whatever scale, bias, mask and sinks, from
// either side. `unknown` counts the softmaxes that look like attention but are not of a known form (cross-covariance).
std::vector<AttentionSite> find_attention(const StraightGraph& straight, const Places& places, int64_t& unknown);

}  // namespace sightline
