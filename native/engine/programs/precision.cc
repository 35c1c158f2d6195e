#include "engine/programs/precision.h"

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::WithInsertPoint;

void compute_in_float32(Graph& graph, PreparedWeights* weights) {
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = *it++;
    if (node->kind() == c10::prim::Constant) {
      const auto constant = constant_of(node->output());
      if (!constant || !constant->isTensor() || !at::isReducedFloatingType(constant->toTensor().scalar_type()))
        continue;
      WithInsertPoint point(node);
      const auto narrow = constant->toTensor();
      const auto to_float = [&] { return narrow.to(at::kFloat); };
      node->output()->replaceAllUsesWith(
          graph.insertConstant(weights ? weights->get("upcast", {narrow}, to_float) : to_float()));
    } else if (is_aten(node, "to") && node->inputs().size() > 1) {
      const auto dtype = constant_of(node->input(1));
      if (!dtype || !dtype->isInt() || !at::isReducedFloatingType(dtype->toScalarType())) continue;
      WithInsertPoint point(node);
      node->replaceInput(1, graph.insertConstant(at::kFloat));
    }
  }
}

at::Tensor in_float32(const at::Tensor& x) { return at::isReducedFloatingType(x.scalar_type()) ? x.to(at::kFloat) : x; }

}  // namespace sightline
