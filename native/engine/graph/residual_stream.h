// What surrounds an attention in its transformer block: output projection, residual connection, the norm behind it.
#pragma once

#include "engine/graph/attention_forms.h"

namespace sightline {

// Members are null or undefined where the graph does not tell.
struct ResidualStream {
  torch::jit::Value* residual = nullptr;      // [batch, tokens, channels], what the attention's output is added to
  torch::jit::Value* residual_mid = nullptr;  // the sum
  at::Tensor projection;                      // [channels, heads, head size], any layer scale multiplied in
  at::Tensor norm_weight;                     // [channels], of the layer norm that reads the sum
};

// Reads a straight graph from an attention's output on. Heads are merged as every exporter does it: head by head.
ResidualStream find_residual_stream(const AttentionSite& site);

}  // namespace sightline
