// Rewrites that make a program faster and leave its answer what it is, to rounding.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <unordered_set>

#include "engine/programs/tuning/prepared_weights.h"

namespace sightline {

// Attention that lays its tokens before the batch, as nn.MultiheadAttention does, gets its queries, keys and values as
// views, and its output merged, in the batch's own order: five copies of the tokens less in each block.
void straighten_layouts(torch::jit::Graph& graph);

// Where the head reads one token (or two), what only they need is computed for them alone: the last block's projection
// and MLP, and their gradients. Reads the sizes that tracing recorded.
void narrow_tokens(torch::jit::Graph& graph);

// Batch norms that read a convolution's output, which nobody else reads, become part of its weights.
void fold_batch_norms(torch::jit::Graph& graph, PreparedWeights& weights);

// Turns views into reshapes: convolutions whose operands are laid out for oneDNN give tensors that lie in another order, of
// which no view can join axes. False where an operator sees how its tensor lies; such a graph keeps the layouts of its export.
bool free_of_strides(torch::jit::Graph& graph);

// Convolutions keep their channels innermost, as oneDNN and cuDNN compute them. Only where `free_of_strides`.
void lay_channels_last(torch::jit::Graph& graph, PreparedWeights& weights);

// Linear layers get inputs that lie in order. LibTorch multiplies a turned one, such as torchvision's [tokens, batch,
// channels], in as many small products as it has tokens, rather than copy it.
void straighten_linear_inputs(torch::jit::Graph& graph);

// Convolutions and linear layers that no gradient is taken through, nor through anything before them, get weights packed
// for oneDNN and take in the ReLU, GELU and sum behind them. `recorded`: the values from which gradients are recorded on.
void pack_operators(torch::jit::Graph& graph, const std::unordered_set<const torch::jit::Value*>& recorded,
                    at::ScalarType dtype, PreparedWeights& weights);

// Linear layers that gradients are taken through are multiplied by oneDNN, forwards and backwards, where that is faster.
void multiply_by_onednn(torch::jit::Graph& graph, const std::unordered_set<const torch::jit::Value*>& recorded,
                        at::ScalarType dtype, PreparedWeights& weights);

}  // namespace sightline
