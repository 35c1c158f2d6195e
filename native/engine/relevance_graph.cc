#include "engine/relevance_graph.h"

#include "engine/errors.h"
#include "engine/graph_ops.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::NamedValue;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

bool ends_gradients(const Node* node) {
  if (node->kind() == c10::Symbol::fromQualString("sightline::stop_gradient")) return true;
  return is_any_of(node, {"detach", "argmax", "argmin", "argsort", "eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf",
                          "logical_not", "logical_and", "logical_or", "bitwise_not", "sign", "floor", "ceil", "round",
                          "zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full",
                          "new_empty", "size", "numel", "dim"});
}

bool holds_tensors(const Value* value) {
  const auto& type = value->type();
  if (is_tensor(value)) return true;
  if (const auto list = type->cast<c10::ListType>()) return list->getElementType()->isSubtypeOf(*c10::TensorType::get());
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

bool Rewrite::is_active(const Node* node) const {
  for (const Value* output : node->outputs()) {
    if (is_active(output)) return true;
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
}

Value* Rewrite::before(Node* node, const char* name, at::ArrayRef<NamedValue> inputs) {
  WithInsertPoint point(node);
  Value* value = insert(graph_, name, inputs);
  value->node()->copyMetadata(node);
  if (!ends_gradients(value->node())) active_.insert(value);
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
  // The image has no node to stand behind.
  Node* node = value->node()->kind() == c10::prim::Param ? *graph_.nodes().begin() : value->node()->next();
  Value* stopped = before(node, "sightline::stop_gradient", {value});
  value->replaceAllUsesAfterNodeWith(stopped->node(), stopped);
  find_active();
}

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

void refuse_operator(const Rule& rule, const Node* node) {
  const std::string place = node->scopeName();
  throw EngineError("METHOD_NOT_APPLICABLE", "The rule '" + rule.name + "' is not defined for the operator '" +
                                                 node->kind().toUnqualString() + "'" +
                                                 (place.empty() ? "" : " in '" + place + "'") +
                                                 "; explain this model by a method that does not need the rule.");
}

}  // namespace sightline
