#include "engine/graph/graph_ops.h"
#include "engine/programs/tuning/tuning.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

// Whether a value's axes lie in another order than it has them, as far as the graph tells.
bool is_turned(const Value* value) {
  const Node* node = value->node();
  if (is_any_of(node, {"dropout", "detach"})) return is_turned(node->input(0));
  return is_any_of(node, {"transpose", "permute", "t", "mT", "swapaxes", "movedim"});
}

}  // namespace

void straighten_linear_inputs(Graph& graph) {
  for (Node* node : graph.nodes()) {
    if (!is_aten(node, "linear") || !is_turned(node->input(0))) continue;
    WithInsertPoint point(node);
    Value* straight = graph.insert(c10::aten::contiguous, {node->input(0)});
    straight->setType(node->input(0)->type());
    node->replaceInput(0, straight);
  }
}

}  // namespace sightline
