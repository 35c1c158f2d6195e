#include "engine/graph/residual_stream.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Node;
using torch::jit::Use;
using torch::jit::Value;

namespace {

constexpr int kBlockSearchDepth = 16;

std::optional<at::Tensor> tensor_constant(const Value* value) {
  const auto constant = constant_of(value);
  if (!constant || !constant->isTensor()) return std::nullopt;
  return constant->toTensor();
}

// The weight [out, in] by which a node multiplies its operand, where that is a constant.
std::optional<at::Tensor> linear_weight(const Use& use) {
  const Node* node = use.user;
  if (is_aten(node, "linear") && use.offset == 0) return tensor_constant(node->input(1));
  const size_t second = is_aten(node, "addmm") ? 2 : is_any_of(node, {"matmul", "mm"}) ? 1 : 0;
  if (second == 0 || use.offset + 1 != second) return std::nullopt;
  const Node* transposed = node->input(second)->node();
  if (is_any_of(transposed, {"t", "transpose", "numpy_T"})) return tensor_constant(transposed->input(0));
  const auto weight = tensor_constant(node->input(second));
  if (weight && weight->dim() == 2) return weight->t();
  return std::nullopt;
}

}  // namespace

ResidualStream find_residual_stream(const AttentionSite& site) {
  ResidualStream stream;
  Value* value = site.product;
  at::Tensor weight;
  for (int depth = 0; value != nullptr && depth < kBlockSearchDepth && stream.residual_mid == nullptr; ++depth) {
    Value* next = nullptr;
    for (const auto& use : value->uses()) {
      Node* node = use.user;
      if (!weight.defined()) {
        if (const auto found = linear_weight(use)) {
          weight = found->to(at::kFloat);
          next = node->output();
          break;
        }
      } else if (is_aten(node, "mul") && tensor_constant(node->input(1 - use.offset))) {
        const auto scale = tensor_constant(node->input(1 - use.offset))->to(at::kFloat);
        weight = weight * (scale.dim() == 0 ? scale : scale.reshape({-1, 1}));
        next = node->output();
        break;
      } else if (is_aten(node, "add") && use.offset < 2 && is_tensor(node->input(1 - use.offset))) {
        const auto sizes = recorded_sizes(node->output());
        if (sizes && sizes->size() == 3 && recorded_sizes(node->input(1 - use.offset)) == sizes) {
          stream.residual = node->input(1 - use.offset);
          stream.residual_mid = node->output();
          break;
        }
      }
      if (use.offset == 0 &&
          is_any_of(node, {"transpose", "permute", "reshape", "view", "flatten", "contiguous", "clone", "dropout", "to",
                           "squeeze", "unsqueeze", "type_as", "mT", "swapaxes"})) {
        next = node->output();
      }
    }
    value = next;
  }
  if (stream.residual_mid == nullptr || weight.dim() != 2 || weight.size(1) != site.heads * site.value_size) return {};
  stream.projection = weight.view({weight.size(0), site.heads, site.value_size});
  for (const auto& use : stream.residual_mid->uses()) {
    if (!is_aten(use.user, "layer_norm") || use.offset != 0) continue;
    stream.norm_weight = tensor_constant(use.user->input(2)).value_or(at::Tensor());
    // A norm without parameters scales by 1.
    if (!stream.norm_weight.defined()) stream.norm_weight = at::ones({weight.size(0)}, weight.options());
    break;
  }
  return stream;
}

}  // namespace sightline
