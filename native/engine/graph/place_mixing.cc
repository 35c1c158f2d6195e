#include "engine/graph/places.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <c10/util/Exception.h>

#include <numeric>
#include <string>

#include "engine/graph/graph_ops.h"
#include "engine/graph/place_operators.h"
#include "engine/graph/pointwise_proof.h"

namespace sightline {

using torch::jit::Node;
using torch::jit::Value;

namespace {

bool is_constant_along(const at::Tensor& places, int64_t axis) {
  return places.equal(places.narrow(axis, 0, 1).expand(places.sizes()));
}

// Whether a tensor of these sizes, broadcast to one that tells places apart, is the same at all of them, as a gate of channels is.
bool scales_alike(const at::Tensor& places, const std::vector<int64_t>& sizes) {
  const auto shift = places.dim() - static_cast<int64_t>(sizes.size());
  bool tells_apart = false;
  for (int64_t axis = 0; axis < places.dim(); ++axis) {
    if (is_constant_along(places, axis)) continue;
    tells_apart = true;
    if (axis >= shift && sizes[static_cast<size_t>(axis - shift)] != 1) return false;
  }
  return tells_apart && shift >= 0;
}

}  // namespace

at::Tensor Places::result_of(const Node* node, const Value* output) {
  const auto sizes = recorded_sizes(output);
  if (is_one_of(node, {"linear", "linear_relu", "linear_dynamic", "linear_relu_dynamic", "linear_dynamic_fp16",
                       "linear_leaky_relu"}) &&
      sizes && !depends(node->input(1))) {
    const auto from = places_of(node->input(0));
    return from.defined() ? united(from, -1).expand(*sizes) : from;
  }
  if (is_one_of(node, {"matmul", "bmm", "mm"})) {
    const auto a = places_of(node->input(0)), b = places_of(node->input(1));
    if (!is_of_pairs(node->input(0)) || !a.defined() || !b.defined() || a.dim() < 2 || b.dim() < 2 || !sizes)
      return of_product(a, b, output);
    bool is_pair = false;
    const auto result = of_attended(united(a, -1), united(b, -2), is_pair).expand(*sizes);
    if (is_pair) pairs_.insert(output);
    return result;
  }
  if (is_any_of(node, {"addmm", "baddbmm"}))
    return of_product(places_of(node->input(1)), places_of(node->input(2)), output);
  if (is_aten(node, "scaled_dot_product_attention")) {
    const auto query = places_of(node->input(0)), key = places_of(node->input(1)), value = places_of(node->input(2));
    if (!query.defined() || !key.defined() || !value.defined() || !sizes) return {};
    bool is_pair = false;
    return of_attended(united(query, -1), united(value, -2), is_pair).expand(*sizes);
  }
  if (is_aten(node, "einsum")) return of_einsum(node, output);
  if (!sizes) return {};
  if (is_any_of(node, {"constant_pad_nd", "pad", "reflection_pad2d", "replication_pad2d"})) return of_padding(node);
  if (!node->kind().is_aten() && is_one_of(node, {"cat", "cat_relu"})) return of_quantized_cat(node);
  if (is_window(node)) return of_window(node, *sizes);
  if (is_aten(node, "col2im")) return of_folding(node, *sizes);
  if (is_reduction(node)) {
    const bool is_elementwise = node->inputs().size() > 1 && is_tensor(node->input(1));  // the larger of two
    return is_elementwise ? of_elementwise(node, output, *sizes) : of_reduction(node, *sizes);
  }
  return keeps_shape(node) || is_proven_pointwise(node) ? of_elementwise(node, output, *sizes) : at::Tensor();
}

// A row of probabilities has its query's place. Where that is none of the values' places, as with queries of the whole image that
// ask each window, what comes out is made of the values.
at::Tensor Places::of_attended(const at::Tensor& query, const at::Tensor& value, bool& conflicts) const {
  return combined(value, query, conflicts);
}

// Unlike the plain operator it is not run itself, since it takes quantised numbers only.
at::Tensor Places::of_quantized_cat(const Node* node) const {
  const auto parts = list_of(node->input(0));
  const auto axis = constant_of(node->input(1));
  return parts && axis && axis->isInt() ? at::cat(*parts, axis->toInt()) : at::Tensor();
}

at::Tensor Places::of_product(const at::Tensor& a, const at::Tensor& b, const Value* output) {
  const auto sizes = recorded_sizes(output);
  if (!a.defined() || !b.defined() || a.dim() < 2 || b.dim() < 2 || !sizes) return {};
  bool is_pair = false;
  const auto result = combined(united(a, -1), united(b, -2), is_pair).expand(*sizes);
  if (is_pair) pairs_.insert(output);
  return result;
}

at::Tensor Places::of_einsum(const Node* node, const Value* output) {
  const auto equation = constant_of(node->input(0));
  const Node* list = node->input(1)->node();
  const auto sizes = recorded_sizes(output);
  if (!equation || !equation->isString() || !sizes || list->kind() != c10::prim::ListConstruct ||
      list->inputs().size() != 2)
    return {};
  std::string text = equation->toStringRef();
  std::erase(text, ' ');
  const auto comma = text.find(','), arrow = text.find("->");
  if (comma == std::string::npos || arrow == std::string::npos || text.find('.') != std::string::npos) return {};
  const std::string letters[] = {text.substr(0, comma), text.substr(comma + 1, arrow - comma - 1)},
                    wanted = text.substr(arrow + 2);
  at::Tensor parts[2];
  for (size_t i = 0; i < 2; ++i) {
    auto places = places_of(list->input(i));
    if (!places.defined() || places.dim() != static_cast<int64_t>(letters[i].size())) return {};
    std::vector<int64_t> summed, order;
    for (size_t axis = 0; axis < letters[i].size(); ++axis) {
      if (letters[i].find(letters[i][axis], axis + 1) != std::string::npos) return {};
      if (wanted.find(letters[i][axis]) == std::string::npos) summed.push_back(static_cast<int64_t>(axis));
    }
    if (!summed.empty()) places = united(places, summed);
    for (const char letter : wanted) {
      if (const auto axis = letters[i].find(letter); axis != std::string::npos)
        order.push_back(static_cast<int64_t>(axis));
    }
    order.insert(order.end(), summed.begin(), summed.end());
    places = places.permute(order);
    for (size_t gone = 0; gone < summed.size(); ++gone) places = places.squeeze(-1);
    for (size_t axis = 0; axis < wanted.size(); ++axis) {
      if (letters[i].find(wanted[axis]) == std::string::npos) places = places.unsqueeze(static_cast<int64_t>(axis));
    }
    parts[i] = places;
  }
  bool is_pair = false;
  const auto result = combined(parts[0], parts[1], is_pair).expand(*sizes);
  if (is_pair) pairs_.insert(output);
  return result;
}

at::Tensor Places::of_reduction(const Node* node, const std::vector<int64_t>& sizes) {
  const auto from = places_of(node->input(0));
  if (!from.defined()) return {};
  std::vector<int64_t> axes;
  const auto* schema = node->maybeSchema();
  for (size_t i = 1; schema != nullptr && i < node->inputs().size(); ++i) {
    // By its name: a norm's order is a number too.
    if (schema->arguments().at(i).name() != "dim") continue;
    const auto constant = constant_of(node->input(i));
    const auto found = known_.find(node->input(i));
    if (!constant && found == known_.end()) return {};
    const auto& dim = constant ? *constant : found->second;
    if (dim.isIntList()) axes = dim.toIntVector();
    if (dim.isInt()) axes = {dim.toInt()};
  }
  if (axes.empty()) {
    axes.resize(static_cast<size_t>(from.dim()));
    std::iota(axes.begin(), axes.end(), 0);
  }
  const auto result = united(from, axes);
  return c10::multiply_integers(sizes) == result.numel() ? result.reshape(sizes) : at::Tensor();
}

at::Tensor Places::of_one_place(const Node* node, const Value* output) {
  const auto sizes = recorded_sizes(output);
  std::vector<at::Tensor> each;
  for (const Value* input : node->inputs()) {
    if (!depends(input)) continue;
    if (is_lost(input) || pairs_.count(input) != 0) return {};
    const auto parts = is_tensor(input) ? std::vector<at::Tensor>{places_of(input)}
                                        : list_of(input).value_or(std::vector<at::Tensor>{});
    if (parts.empty()) return {};
    for (const auto& part : parts) {
      const auto first = part.reshape(-1).slice(0, 0, 1);
      if (first.numel() == 0 ||
          !part.equal(first.reshape(std::vector<int64_t>(static_cast<size_t>(part.dim()), 1)).expand(part.sizes())))
        return {};
      each.push_back(first);
    }
  }
  if (!sizes || each.empty()) return {};
  return united(at::cat(each), 0).expand(*sizes);
}

bool Places::is_proven_pointwise(const Node* node) const {
  const Value* moved = nullptr;
  for (const Value* input : node->inputs()) {
    if (!depends(input)) continue;
    if (moved != nullptr || !has(input)) return false;
    moved = input;
  }
  return moved != nullptr && is_pointwise_by_run(node, moved);
}

at::Tensor Places::of_elementwise(const Node* node, const Value* output, const std::vector<int64_t>& sizes) {
  at::Tensor result;
  std::vector<std::vector<int64_t>> lost;
  for (const Value* input : node->inputs()) {
    if (!is_tensor(input) || !depends(input)) continue;
    // Another tensor's type only.
    if (input != node->input(0) && is_any_of(node, {"to", "type_as"})) break;
    if (pairs_.count(input) != 0) pairs_.insert(output);
    const auto places = places_of(input);
    if (!places.defined()) {
      const auto of_lost = recorded_sizes(input);
      if (!of_lost) return {};
      lost.push_back(*of_lost);
      continue;
    }
    bool conflicts = false;
    result = result.defined() ? combined(result, places, conflicts) : places;
    if (conflicts && pairs_.count(output) == 0) return {};
  }
  if (!lost.empty() && (!result.defined() || result.sizes() != at::IntArrayRef(sizes) || pairs_.count(output) != 0))
    return {};
  for (const auto& each : lost) {
    if (!scales_alike(result, each)) return {};
  }
  if (!result.defined() || result.dim() > static_cast<int64_t>(sizes.size())) return {};
  try {
    return result.expand(sizes);
  } catch (const std::exception&) {
    return {};
  }
}

}  // namespace sightline
