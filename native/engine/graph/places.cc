#include "engine/graph/places.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/graph/graph_ops.h"
#include "engine/graph/place_operators.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

namespace {

at::Tensor zeros(at::IntArrayRef sizes) { return at::zeros({1}, at::kDouble).expand(sizes); }

}  // namespace

Places::Places(const Graph& graph, const Value* image, int64_t height, int64_t width)
    : height_(static_cast<double>(height)), width_(static_cast<double>(width)), boxes_{{0, 0, 0, 0}} {
  at::NoGradGuard no_gradients;
  if (const auto sizes = recorded_sizes(image)) {
    dependent_.insert(image);
    known_[image] = grid(height, width).expand(*sizes);
  }
  for (const Node* node : graph.nodes()) {
    followed_ = node;
    follow(node);
  }
  followed_ = nullptr;
}

int64_t Places::number_of(const Box& box) {
  const auto key = [](double bound) { return std::llround(bound / kResolution); };
  const auto [found, is_new] =
      numbers_.emplace(std::array<int64_t, 4>{key(box.top), key(box.bottom), key(box.left), key(box.right)},
                       static_cast<int64_t>(boxes_.size()));
  if (is_new) boxes_.push_back(box);
  return found->second;
}

at::Tensor Places::grid(int64_t rows, int64_t columns) {
  auto& numbers = grids_[{rows, columns}];
  if (numbers.defined()) return numbers;
  numbers = at::empty({rows, columns}, at::kDouble);
  auto* to = numbers.mutable_data_ptr<double>();
  const double down = height_ / static_cast<double>(rows), across = width_ / static_cast<double>(columns);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const auto y = static_cast<double>(row), x = static_cast<double>(column);
      *to++ = static_cast<double>(number_of({y * down, (y + 1) * down, x * across, (x + 1) * across}));
    }
  }
  return numbers;
}

at::Tensor Places::bounds(const at::Tensor& numbers, double Box::* bound, double of_none) const {
  auto table = at::empty({static_cast<int64_t>(boxes_.size())}, at::kDouble);
  auto* to = table.mutable_data_ptr<double>();
  for (const Box& box : boxes_) *to++ = box.*bound;
  table[0] = of_none;
  return table.take(numbers.to(at::kLong));
}

at::Tensor Places::united(const at::Tensor& numbers, at::IntArrayRef axes) {
  const auto low = at::amin(numbers, axes, true);
  if (low.equal(at::amax(numbers, axes, true))) return low;
  constexpr double kFar = std::numeric_limits<double>::infinity();
  const auto top = at::amin(bounds(numbers, &Box::top, kFar), axes, true).contiguous(),
             bottom = at::amax(bounds(numbers, &Box::bottom, -kFar), axes, true).contiguous();
  const auto left = at::amin(bounds(numbers, &Box::left, kFar), axes, true).contiguous(),
             right = at::amax(bounds(numbers, &Box::right, -kFar), axes, true).contiguous();
  auto result = at::zeros_like(top);
  for (int64_t i = 0; i < result.numel(); ++i) {
    const auto at = [&](const at::Tensor& tensor) { return tensor.const_data_ptr<double>()[i]; };
    if (std::isfinite(at(top)))
      result.mutable_data_ptr<double>()[i] = static_cast<double>(number_of({at(top), at(bottom), at(left), at(right)}));
  }
  return result;
}

at::Tensor Places::combined(const at::Tensor& a, const at::Tensor& b, bool& conflicts) const {
  const auto none_a = a == 0, none_b = b == 0;
  const auto simple = at::where(none_a, b, a);
  if (((a == b) | none_a | none_b).all().item<bool>()) return simple;
  const auto inside = [&](const at::Tensor& x, const at::Tensor& y) {
    return (bounds(x, &Box::top, 0) >= bounds(y, &Box::top, 0) - kResolution) &
           (bounds(x, &Box::bottom, 0) <= bounds(y, &Box::bottom, 0) + kResolution) &
           (bounds(x, &Box::left, 0) >= bounds(y, &Box::left, 0) - kResolution) &
           (bounds(x, &Box::right, 0) <= bounds(y, &Box::right, 0) + kResolution);
  };
  const auto a_inside = inside(a, b), b_inside = inside(b, a);
  conflicts = conflicts || !(a_inside | b_inside | none_a | none_b).all().item<bool>();
  return at::where(none_a | none_b | a_inside | ~b_inside, simple, b);
}

at::Tensor Places::places_of(const Value* value) const {
  const auto found = known_.find(value);
  if (depends(value))
    return found != known_.end() && found->second.isTensor() ? found->second.toTensor() : at::Tensor();
  if (const auto sizes = recorded_sizes(value)) return zeros(*sizes);
  if (found != known_.end() && found->second.isTensor() && found->second.toTensor().defined())
    return zeros(found->second.toTensor().sizes());
  if (const auto constant = constant_of(value); constant && constant->isTensor() && constant->toTensor().defined())
    return zeros(constant->toTensor().sizes());
  return {};
}

std::optional<std::vector<at::Tensor>> Places::list_of(const Value* value) const {
  const Node* node = value->node();
  std::vector<at::Tensor> parts;
  if (node->kind() == c10::prim::ListConstruct) {
    for (const Value* part : node->inputs()) parts.push_back(places_of(part));
  } else if (is_aten(node, "add")) {
    for (const Value* half : node->inputs()) {
      const auto of_half = list_of(half);
      if (!of_half) return std::nullopt;
      parts.insert(parts.end(), of_half->begin(), of_half->end());
    }
  } else if (const auto constant = constant_of(value)) {
    if (!constant->isList() || !constant->toListRef().empty()) return std::nullopt;
  } else {
    const auto found = known_.find(value);
    if (found == known_.end() || !found->second.isTensorList()) return std::nullopt;
    parts = found->second.toTensorVector();
    if (!depends(value))
      std::transform(parts.begin(), parts.end(), parts.begin(),
                     [](const at::Tensor& part) { return zeros(part.sizes()); });
  }
  for (const Node* writer : writers_of(value)) {
    if (followed_ != nullptr && !writer->isBefore(followed_)) break;
    if (!is_aten(writer, "append") || writer->input(0) != value) return std::nullopt;
    parts.push_back(places_of(writer->input(1)));
  }
  if (std::any_of(parts.begin(), parts.end(), [](const at::Tensor& part) { return !part.defined(); }))
    return std::nullopt;
  return parts;
}

// Runs the operator itself: on places, or on what its inputs are where none depends on the image.
bool Places::run(const Node* node, bool on_places) {
  torch::jit::Stack stack;
  for (size_t i = 0; i < node->inputs().size(); ++i) {
    const Value* input = node->input(i);
    // What is moved; indices and sizes stay what they are.
    const bool is_moved = on_places && i == 0;
    if (is_moved && input->type()->isSubtypeOf(*c10::ListType::ofTensors())) {
      const auto parts = list_of(input);
      if (!parts) return false;
      stack.emplace_back(*parts);
    } else if (is_moved || (on_places && is_tensor(input) && depends(input))) {
      auto places = places_of(input);
      // Sizes are on record where places are not known.
      if (!places.defined() && tells_sizes(node) && recorded_sizes(input)) places = zeros(*recorded_sizes(input));
      if (!places.defined()) return false;
      stack.emplace_back(places);
    } else if (const auto constant = constant_of(input)) {
      stack.push_back(*constant);
    } else {
      const auto found = known_.find(input);
      if (found == known_.end()) return false;
      stack.push_back(found->second);
    }
  }
  if (node->kind() == c10::prim::ListConstruct) {
    c10::impl::GenericList list(node->output()->type()->expect<c10::ListType>()->getElementType());
    for (const auto& element : stack) list.push_back(element);
    known_[node->output()] = list;
    return true;
  }
  try {
    node->getOperation()(stack);
  } catch (const std::exception&) {
    return false;  // an operator that does not do numbers of this type: its places are not known
  }
  if (stack.size() != node->outputs().size()) return false;
  for (size_t i = 0; i < stack.size(); ++i) known_[node->output(i)] = stack[i];
  return true;
}

// A value under another name, or one of a list.
void Places::pass_on(const Node* node) {
  const Value *from = node->input(0), *to = node->output();
  if (!is_tensor(to)) return;
  at::Tensor places;
  if (is_tensor(from)) {
    places = places_of(from);
  } else if (const auto parts = list_of(from)) {
    const auto index = node->inputs().size() == 2 ? constant_of(node->input(1)) : std::nullopt;
    if (!index || !index->isInt()) return;
    const auto count = static_cast<int64_t>(parts->size()),
               at = index->toInt() < 0 ? index->toInt() + count : index->toInt();
    if (at >= 0 && at < count) places = parts->at(static_cast<size_t>(at));
  }
  if (places.defined()) known_[to] = places;
  if (pairs_.count(from) != 0) pairs_.insert(to);
}

void Places::follow(const Node* node) {
  if (node->kind() == c10::prim::Constant) return;
  const auto inputs = node->inputs();
  const bool is_dependent =
      is_aten(node, "type_as")  // of the second, the type only
          ? depends(inputs[0])
          : std::any_of(inputs.begin(), inputs.end(), [&](const Value* input) { return depends(input); });
  if (is_dependent && tells_sizes(node)) {
    run(node, true);
    return;
  }
  if (!is_dependent && node->kind() != c10::prim::ListUnpack) {
    run(node, false);
    return;
  }
  if (is_dependent) dependent_.insert(node->outputs().begin(), node->outputs().end());
  if (is_aten(node, "append")) dependent_.insert(node->input(0));
  if (node->kind() == c10::prim::ListConstruct) return;  // read where the list is
  if (node->kind() == c10::prim::ListUnpack) {
    if (is_dependent) {
      const auto parts = list_of(node->input(0));
      for (size_t i = 0; parts && i < parts->size() && parts->size() == node->outputs().size(); ++i)
        known_[node->output(i)] = parts->at(i);
    } else if (const auto found = known_.find(node->input(0)); found != known_.end() && found->second.isList()) {
      const auto parts = found->second.toListRef();
      for (size_t i = 0; i < parts.size() && parts.size() == node->outputs().size(); ++i)
        known_[node->output(i)] = parts[i];
    }
    if (pairs_.count(node->input(0)) != 0) pairs_.insert(node->outputs().begin(), node->outputs().end());
    return;
  }
  if (is_dependent && (node->kind() == c10::prim::unchecked_cast || is_aten(node, "__getitem__"))) {
    pass_on(node);
    return;
  }
  const bool is_pair =
      std::any_of(inputs.begin(), inputs.end(), [&](const Value* input) { return pairs_.count(input) != 0; });
  if (moves_elements(node) && run(node, true)) {
    for (const Value* output : node->outputs()) {
      // A list may have had more appended to it than was seen.
      const auto sizes = recorded_sizes(output);
      const auto found = known_.find(output);
      if (sizes && found->second.isTensor() && found->second.toTensor().sizes() != at::IntArrayRef(*sizes))
        known_.erase(found);
    }
    if (is_pair) pairs_.insert(node->outputs().begin(), node->outputs().end());
    return;
  }
  for (const Value* output : node->outputs()) {
    if (!is_tensor(output)) continue;
    at::Tensor result;
    try {
      result = result_of(node, output);
      if (!result.defined()) result = of_one_place(node, output);
    } catch (const c10::Error&) {
      continue;  // operands that do not go together as they usually do, such as grouped queries: not known
    }
    if (result.defined()) known_[output] = result;
  }
}

}  // namespace sightline
