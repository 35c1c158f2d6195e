// What kind of operator a node is, as far as relevance rules are concerned.
#include <string_view>

#include "engine/graph/graph_ops.h"
#include "engine/relevance/rewrite.h"

namespace sightline {

using torch::jit::Node;
using torch::jit::Value;

bool is_rectifier(const Node* node) {
  if (is_any_of(node, {"relu", "relu6", "leaky_relu", "rrelu", "prelu", "elu", "celu", "selu", "gelu", "silu", "mish",
                       "hardswish"})) {
    return true;
  }
  // relu6 is written hardtanh(x, 0, 6), relu now and then clamp_min(x, 0) or clamp(x, 0).
  if (!is_any_of(node, {"hardtanh", "clamp", "clamp_min"})) return false;
  const auto least = constant_of(node->input(1));
  return least && least->isScalar() && least->toScalar().toDouble() == 0.0;
}

bool is_activation(const Node* node) {
  return is_rectifier(node) || is_any_of(node, {"sigmoid", "hardsigmoid", "tanh", "hardtanh", "softplus", "softsign",
                                                "clamp", "clamp_min", "clamp_max"});
}

bool is_softmax(const Node* node) { return is_any_of(node, {"softmax", "_softmax", "_safe_softmax"}); }

bool is_matrix_product(const Node* node) {
  return is_any_of(node,
                   {"matmul", "mm", "bmm", "mv", "dot", "addmm", "baddbmm", "einsum", "scaled_dot_product_attention"});
}

bool only_moves(const Node* node) {
  if (node->kind() == c10::prim::ListConstruct || node->kind() == c10::prim::ListUnpack ||
      node->kind() == c10::prim::TupleConstruct || node->kind() == c10::prim::TupleUnpack) {
    return true;
  }
  // Lists of tensors are joined by `add` too.
  if (is_aten(node, "add") && !is_tensor(node->output())) return true;
  return is_any_of(node, {"view",
                          "_unsafe_view",
                          "view_as",
                          "reshape",
                          "reshape_as",
                          "permute",
                          "transpose",
                          "swapaxes",
                          "swapdims",
                          "movedim",
                          "t",
                          "mT",
                          "numpy_T",
                          "flatten",
                          "unflatten",
                          "select",
                          "slice",
                          "narrow",
                          "unbind",
                          "chunk",
                          "split",
                          "split_with_sizes",
                          "tensor_split",
                          "cat",
                          "concat",
                          "stack",
                          "squeeze",
                          "unsqueeze",
                          "expand",
                          "expand_as",
                          "repeat",
                          "contiguous",
                          "clone",
                          "alias",
                          "to",
                          "_to_copy",
                          "type_as",
                          "float",
                          "dropout",
                          "feature_dropout",
                          "alpha_dropout",
                          "roll",
                          "flip",
                          "pad",
                          "constant_pad_nd",
                          "index",
                          "index_select",
                          "gather",
                          "pixel_shuffle",
                          "pixel_unshuffle",
                          "channel_shuffle",
                          "unfold",
                          "im2col",
                          "masked_fill",
                          "where",
                          "max_pool2d",
                          "__getitem__"});
}

bool is_average(const Node* node) {
  if (is_any_of(node, {"mean", "sum", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
                       "_adaptive_avg_pool2d"})) {
    return true;
  }
  const std::string_view name = node->kind().is_aten() ? node->kind().toUnqualString() : "";
  return name.starts_with("upsample_") || name.starts_with("_upsample_");
}

bool is_normalization(const Node* node) {
  return is_any_of(node, {"layer_norm", "native_layer_norm", "group_norm", "rms_norm"});
}

bool is_deviation(const Node* node) { return is_any_of(node, {"rsqrt", "std", "var", "norm", "linalg_vector_norm"}); }

namespace {

std::optional<int64_t> constant_rank(const Value* value) {
  const auto constant = constant_of(value);
  if (!constant || !constant->isTensor()) return std::nullopt;
  return constant->toTensor().dim();
}

bool is_none(const Value* value) {
  const auto constant = constant_of(value);
  return value->type()->kind() == c10::TypeKind::NoneType || (constant && constant->isNone());
}

bool is_one(const Value* value) {
  const auto constant = constant_of(value);
  return constant && constant->isScalar() && constant->toScalar().toDouble() == 1.0;
}

// The bias of a linear layer that is written as a product and a sum.
Value* added_bias(const Rewrite& rewrite, Value* product, Value*& bias) {
  if (product->uses().size() != 1) return nullptr;
  Node* sum = product->uses()[0].user;
  if (!is_aten(sum, "add") || sum->inputs().size() < 3 || !is_one(sum->input(2))) return nullptr;
  Value* other = sum->input(product->uses()[0].offset == 0 ? 1 : 0);
  if (rewrite.is_active(other) || constant_rank(other) != 1) return nullptr;
  bias = other;
  return sum->output();
}

}  // namespace

std::optional<Affine> read_affine(const Rewrite& rewrite, Node* node) {
  if (node->outputs().size() != 1 || rewrite.active_operands(node) != 1) return std::nullopt;
  Affine affine{node, 0, nullptr, false, nullptr, node->output(), false};
  if (is_aten(node, "linear")) {
    affine.weight = node->input(1);
    if (!is_none(node->input(2))) affine.bias = node->input(2);
  } else if (is_aten(node, "addmm")) {
    if (!is_one(node->input(3)) || !is_one(node->input(4))) return std::nullopt;
    affine.input = 1;
    affine.bias = node->input(0);
    affine.weight = node->input(2);
    affine.weight_is_transposed = true;
  } else if (is_any_of(node, {"matmul", "mm"}) && constant_rank(node->input(1)) == 2) {
    affine.weight = node->input(1);
    affine.weight_is_transposed = true;
    if (Value* sum = added_bias(rewrite, node->output(), affine.bias)) affine.result = sum;
  } else if (is_any_of(node, {"conv1d", "conv2d", "conv3d", "convolution", "_convolution"})) {
    if (node->input(4)->type()->kind() == c10::TypeKind::StringType) return std::nullopt;
    if (is_any_of(node, {"convolution", "_convolution"})) {
      const auto transposed = constant_of(node->input(6));
      if (!transposed || transposed->toBool()) return std::nullopt;
    }
    affine.is_convolution = true;
    affine.weight = node->input(1);
    if (!is_none(node->input(2))) affine.bias = node->input(2);
  } else {
    return std::nullopt;
  }
  if (!rewrite.is_active(affine.x())) return std::nullopt;
  return affine;
}

Value* weight_before(Rewrite& rewrite, const Affine& affine, Node* node) {
  return affine.weight_is_transposed ? rewrite.before(node, "aten::t", {affine.weight}) : affine.weight;
}

std::array<Value*, 4> convolution_settings(const Affine& affine) {
  const bool has_transposed = is_any_of(affine.node, {"convolution", "_convolution"});
  return {affine.node->input(3), affine.node->input(4), affine.node->input(5),
          affine.node->input(has_transposed ? 8 : 6)};
}

bool feeds_attention(const Rewrite& rewrite, Value* value) {
  std::vector<Value*> open{value};
  std::unordered_set<Value*> seen;
  while (!open.empty()) {
    Value* current = open.back();
    open.pop_back();
    if (!seen.insert(current).second) continue;
    for (const auto& use : current->uses()) {
      Node* node = use.user;
      if (is_matrix_product(node) && rewrite.active_operands(node) > 1) return true;
      // Of the second only the sizes are read.
      if (use.offset != 0 && is_any_of(node, {"view_as", "reshape_as", "expand_as", "type_as"})) continue;
      const bool passes = only_moves(node) || is_softmax(node) || is_normalization(node) ||
                          is_aten(node, "batch_norm") ||
                          (is_any_of(node, {"mul", "div", "add", "sub"}) && rewrite.active_operands(node) == 1);
      if (!passes) continue;
      for (Value* output : node->outputs()) open.push_back(output);
    }
  }
  return false;
}

bool comes_from_attention(const Rewrite& rewrite, Value* value) {
  for (Node* node = value->node();; node = node->input(0)->node()) {
    if (is_matrix_product(node)) return rewrite.active_operands(node) > 1;
    if (!only_moves(node) || node->inputs().empty()) return false;
  }
}

}  // namespace sightline
