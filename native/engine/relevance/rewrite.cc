#include "engine/relevance/rewrite.h"

#include "engine/errors.h"
#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::NamedValue;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

bool ends_gradients(const Node* node) {
  if (node->kind() == c10::Symbol::fromQualString("sightline::stop_gradient")) return true;
  return is_any_of(
      node,
      {"detach",    "argmax",   "argmin",   "argsort",   "eq",          "ne",          "lt",         "le",
       "gt",        "ge",       "isnan",    "isinf",     "logical_not", "logical_and", "logical_or", "bitwise_not",
       "sign",      "floor",    "ceil",     "round",     "zeros_like",  "ones_like",   "full_like",  "empty_like",
       "new_zeros", "new_ones", "new_full", "new_empty", "size",        "numel",       "dim"});
}

bool holds_tensors(const Value* value) {
  const auto& type = value->type();
  if (is_tensor(value)) return true;
  if (const auto list = type->cast<c10::ListType>())
    return list->getElementType()->isSubtypeOf(*c10::TensorType::get());
  return type->kind() == c10::TypeKind::TupleType;
}

Value* insert(Graph& graph, const char* name, at::ArrayRef<NamedValue> inputs) {
  return graph.insert(c10::Symbol::fromQualString(name), inputs);
}

}  // namespace

Rewrite::Rewrite(Graph& graph) : graph_(graph) {
  for (Node* node : graph.nodes()) nodes_.push_back(node);
  find_active();
}

int64_t Rewrite::active_operands(const Node* node) const {
  int64_t count = 0;
  for (const Value* input : node->inputs()) {
    if (input->node()->kind() == c10::prim::ListConstruct) {
      count += active_operands(input->node());
    } else {
      count += is_active(input) ? 1 : 0;
    }
  }
  return count;
}

bool Rewrite::carries(const Node* node) const {
  for (const Value* output : node->outputs()) {
    if (is_active(output) && needed_.count(output) != 0) return true;
  }
  return false;
}

void Rewrite::find_active() {
  active_ = {graph_.inputs()[1]};
  for (const Node* node : graph_.nodes()) {
    if (ends_gradients(node)) continue;
    bool depends = false;
    for (const Value* input : node->inputs()) depends = depends || is_active(input);
    if (!depends) continue;
    for (const Value* output : node->outputs()) {
      if (holds_tensors(output)) active_.insert(output);
    }
  }
  // Backwards from the logits, through what is active only.
  needed_ = {graph_.outputs()[0]};
  for (Node* node : graph_.nodes().reverse()) {
    bool is_needed = false;
    for (const Value* output : node->outputs())
      is_needed = is_needed || (needed_.count(output) != 0 && is_active(output));
    if (!is_needed) continue;
    for (const Value* input : node->inputs()) {
      if (is_active(input)) needed_.insert(input);
    }
  }
}

Value* Rewrite::before(Node* node, const char* name, at::ArrayRef<NamedValue> inputs) {
  WithInsertPoint point(node);
  Value* value = insert(graph_, name, inputs);
  value->node()->copyMetadata(node);
  for (const Value* input : value->node()->inputs()) {
    if (is_active(input) && !ends_gradients(value->node())) active_.insert(value);
  }
  return value;
}

Value* Rewrite::behind(Node* node, const char* name, at::ArrayRef<NamedValue> inputs) {
  return before(node->next(), name, inputs);
}

void Rewrite::replace(Value* value, Value* replacement) {
  value->replaceAllUsesAfterNodeWith(replacement->node(), replacement);
  for (auto& [key, latest] : replacements_) {
    if (latest == value) latest = replacement;
  }
  replacements_[value] = replacement;
}

void Rewrite::detach_inputs(Node* node) {
  for (size_t i = 0; i < node->inputs().size(); ++i) {
    Value* input = node->input(i);
    if (is_active(input) && is_tensor(input)) node->replaceInput(i, before(node, "aten::detach", {input}));
  }
}

void Rewrite::stop(Value* value) {
  Value* stopped = behind(value->node(), "sightline::stop_gradient", {value});
  value->replaceAllUsesAfterNodeWith(stopped->node(), stopped);
}

void refuse_operator(const Rule& rule, const Node* node) {
  const std::string place = node->scopeName();
  throw EngineError("METHOD_NOT_APPLICABLE", "The rule '" + rule.name + "' is not defined for the operator '" +
                                                 node->kind().toUnqualString() + "'" +
                                                 (place.empty() ? "" : " in '" + place + "'") +
                                                 "; explain this model by a method that does not need the rule.");
}

}  // namespace sightline
