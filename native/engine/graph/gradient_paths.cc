#include "engine/graph/gradient_paths.h"

#include <algorithm>

#include "engine/graph/graph_ops.h"
#include "engine/graph/layouts.h"

namespace sightline {

using torch::jit::Node;
using torch::jit::Value;

namespace {

std::optional<bool> recorded_gradient(const Value* value) {
  const auto type = value->type()->cast<c10::TensorType>();
  return type ? type->requiresGrad() : std::nullopt;
}

// Tensors, and lists and tuples that may hold them: through numbers, such as sizes, no gradient flows.
bool may_hold_tensors(const Value* value) {
  const auto& type = value->type();
  if (const auto list = type->cast<c10::ListType>())
    return list->getElementType()->isSubtypeOf(*c10::TensorType::get());
  return is_tensor(value) || type->kind() == c10::TypeKind::TupleType;
}

// Whether an operator was seen to read what has a gradient and to return what has none: `detach`, `argmax`, comparisons, and
// what has no derivative. Of one that only ever read what has none (all of it behind such an operator) nothing was seen.
bool lets_none_through(const Value* value) {
  if (!may_hold_tensors(value)) return true;
  if (recorded_gradient(value) != false) return false;
  const auto inputs = value->node()->inputs();
  return std::any_of(inputs.begin(), inputs.end(), [](const Value* input) { return recorded_gradient(input) == true; });
}

}  // namespace

GradientPaths::GradientPaths(const StraightGraph& straight) : straight_(straight) {
  std::vector<const Value*> queue{straight.graph->outputs()[0]};
  reached_.insert(queue.front());
  std::unordered_set<const Node*> stops;
  while (!queue.empty()) {
    const Value* value = queue.back();
    queue.pop_back();
    const Node* node = value->node();
    if (node->hasAttribute(no_derivative())) failing_.push_back(node);
    if (lets_none_through(value)) {
      const bool reads_numbers = std::any_of(node->inputs().begin(), node->inputs().end(),
                                             [](const Value* input) { return is_tensor(input); });
      if (reads_numbers && !is_aten(node, "size")) stops.insert(node);
      continue;
    }
    for (const Value* input : node->inputs()) {
      if (reached_.insert(input).second) queue.push_back(input);
    }
  }
  stops_.assign(stops.begin(), stops.end());
  for (auto* nodes : {&stops_, &failing_})
    std::sort(nodes->begin(), nodes->end(), [](const Node* a, const Node* b) { return b->isBefore(a); });
}

std::string GradientPaths::obstacle(const Value* value) const {
  const auto is_before = [&](const Node* node) {
    const auto inputs = node->inputs();
    return std::any_of(inputs.begin(), inputs.end(),
                       [&](const Value* input) { return sources_of(input).count(value) != 0; });
  };
  const auto text = [&](const Node* node) {
    const auto module = module_near(straight_, node);
    return "its operator \"" + operator_name(node) + "\"" + (module.empty() ? "" : " at \"" + module + "\"");
  };
  for (const Node* node : failing_) {
    if (is_before(node)) return text(node) + " has no derivative";
  }
  if (reached_.count(value) != 0) return "";
  for (const Node* node : stops_) {
    if (is_before(node)) return "no gradient of the scores passes " + text(node);
  }
  return "";
}

}  // namespace sightline
