#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <optional>

#include "engine/graph/graph_ops.h"
#include "engine/programs/tuning/packed_linear.h"
#include "engine/programs/tuning/packed_operators.h"
#include "engine/programs/tuning/tuning.h"

namespace sightline {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

struct OnednnLinear : Function<OnednnLinear> {
  // `packed` and `weight` hold the same numbers: opaque tensors can be neither transposed nor read.
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& packed, const Tensor& weight,
                        const std::optional<Tensor>& bias) {
    context->save_for_backward({weight});
    return run_packed_linear(x, packed, bias, "none");
  }
  // By itself, so that it can be differentiated again. The transposed weight is read where it lies: packing it, too,
  // would hold a third copy of the weights for a tenth of the time.
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto transposed = context->get_saved_variables()[0].t();
    return {OnednnLinear::apply(gradients[0], transposed, transposed, std::nullopt), Tensor(), Tensor(), Tensor()};
  }
};

Tensor onednn_linear(const Tensor& x, const Tensor& packed, const Tensor& weight, const std::optional<Tensor>& bias) {
  return OnednnLinear::apply(x, packed, weight, bias);
}

TORCH_LIBRARY_FRAGMENT(sightline, library) {
  // As in graph_ops.cc: a second copy of this file in the process leaves it to the first.
  if (c10::Dispatcher::singleton().findSchema({"sightline::onednn_linear", ""})) return;
  library.def("onednn_linear(Tensor x, Tensor packed, Tensor weight, Tensor? bias) -> Tensor", &onednn_linear);
}

}  // namespace

void multiply_by_onednn(Graph& graph, const std::unordered_set<const Value*>& recorded, at::ScalarType dtype,
                        PreparedWeights& weights) {
  if (!has_packed_operators(dtype) || at::isReducedFloatingType(dtype) || !outruns_linear(dtype)) return;
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = *it++;
    if (!is_aten(node, "linear") || recorded.count(node->output()) == 0) continue;
    const auto layer = read_packable_linear(node, dtype);
    if (!layer) continue;
    WithInsertPoint point(node);
    const auto symbol = c10::Symbol::fromQualString("sightline::onednn_linear");
    Value* output = graph.insert(
        symbol, {node->input(0), insert_packed(graph, layer->pack(weights)), node->input(1), node->input(2)});
    output->setType(node->output()->type());
    node->output()->replaceAllUsesWith(output);
    node->destroy();
  }
}

}  // namespace sightline
