// What the passes of relevance.h have in common: which values matter, what kind of operator one is, and putting in others.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/relevance/rules.h"

namespace sightline {

// A straight graph while its local gradients are being rewritten.
class Rewrite {
 public:
  explicit Rewrite(torch::jit::Graph& graph);

  torch::jit::Graph& graph() const { return graph_; }
  // The nodes as they stood at first, in the order of execution, without those that were put in since.
  const std::vector<torch::jit::Node*>& nodes() const { return nodes_; }
  // Whether gradients flow from the value to the image. Never for constants, shapes, masks.
  bool is_active(const torch::jit::Value* value) const { return active_.count(value) != 0; }
  // How many of the node's operands are active; those of a list count each.
  int64_t active_operands(const torch::jit::Node* node) const;
  // Whether the node is on the way from the image to the first output, the logits: a gradient passes it.
  bool carries(const torch::jit::Node* node) const;

  // Puts `sightline::NAME(inputs)` or `aten::NAME(inputs)` before `node`, or behind it.
  torch::jit::Value* before(torch::jit::Node* node, const char* name, at::ArrayRef<torch::jit::NamedValue> inputs);
  torch::jit::Value* behind(torch::jit::Node* node, const char* name, at::ArrayRef<torch::jit::NamedValue> inputs);
  // Lets `replacement`, which was computed from `value`, take its place everywhere behind itself.
  void replace(torch::jit::Value* value, torch::jit::Value* replacement);
  // Computes `node` from detached inputs, so that none of its own gradients flow.
  void detach_inputs(torch::jit::Node* node);
  // No gradient flows into the value any more, in any of its uses.
  void stop(torch::jit::Value* value);
  // Finds anew what is active and what carries, after something was stopped.
  void find_active();

  Replacements take_replacements() { return std::move(replacements_); }

 private:
  torch::jit::Graph& graph_;
  std::vector<torch::jit::Node*> nodes_;
  std::unordered_set<const torch::jit::Value*> active_;
  std::unordered_set<const torch::jit::Value*> needed_;
  Replacements replacements_;
};

// relu, leaky_relu, elu, gelu, silu, hardswish and so on: elementwise, zero or nearly so on one side, the identity or
// nearly so on the other, and 0 at 0.
bool is_rectifier(const torch::jit::Node* node);

// An elementwise function of one tensor: the rectifiers, sigmoid, tanh, clamp and so on.
bool is_activation(const torch::jit::Node* node);

// Softmax along the last axis or another, in any of its spellings.
bool is_softmax(const torch::jit::Node* node);

// Products of two tensors or more: matmul, bmm, einsum, baddbmm, fused attention and so on.
bool is_matrix_product(const torch::jit::Node* node);

// Reshapings, permutations, joins, slices, casts, dropout at inference: each output element is one input element, or none.
bool only_moves(const torch::jit::Node* node);

// Averages, sums and interpolations: each output element is a weighted sum of elements of one tensor.
bool is_average(const torch::jit::Node* node);

// layer_norm, group_norm, rms_norm in any spelling; batch_norm is none, its statistics being constants.
bool is_normalization(const torch::jit::Node* node);

// The statistics by which normalisations that are written out divide: rsqrt, std, norm and so on.
bool is_deviation(const torch::jit::Node* node);

// A learned map, weight * x + bias: a linear layer or a convolution, however it is written.
struct Affine {
  torch::jit::Node* node;     // the product
  size_t input;               // which of its inputs is x
  torch::jit::Value* weight;  // [out, in] or [out, in / groups, ...]
  bool weight_is_transposed;  // [in, out] instead
  torch::jit::Value* bias;    // null where there is none
  torch::jit::Value* result;  // the sum, of another node where the bias is added apart
  bool is_convolution;

  torch::jit::Value* x() const { return node->input(input); }
};
// None for other nodes, and for transposed or string-padded convolutions.
std::optional<Affine> read_affine(const Rewrite& rewrite, torch::jit::Node* node);
// The weight as [out, in], put in before `node` where it must be transposed.
torch::jit::Value* weight_before(Rewrite& rewrite, const Affine& affine, torch::jit::Node* node);
// Stride, padding, dilation, groups.
std::array<torch::jit::Value*, 4> convolution_settings(const Affine& affine);

// Whether the value is read by a product of two active tensors, with nothing but reshapings, scales, masks, biases,
// normalisations and softmax between: what queries, keys and values do, and attention's probabilities.
bool feeds_attention(const Rewrite& rewrite, torch::jit::Value* value);
// Whether the value comes from such a product, with nothing but reshapings between.
bool comes_from_attention(const Rewrite& rewrite, torch::jit::Value* value);

// What a rule says where it has no definition.
[[noreturn]] void refuse_operator(const Rule& rule, const torch::jit::Node* node);

}  // namespace sightline
