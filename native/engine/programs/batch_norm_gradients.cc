#include "engine/programs/batch_norm_gradients.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/batch_norm.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <optional>
#include <vector>

#include "engine/graph/graph_ops.h"

namespace sightline {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using torch::jit::Node;

namespace {

struct SettledBatchNorm : Function<SettledBatchNorm> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const OptionalTensor& weight,
                        const OptionalTensor& bias, const Tensor& mean, const Tensor& variance, double epsilon) {
    auto scale = (variance + epsilon).rsqrt();
    if (weight && weight->defined()) scale = scale * *weight;
    std::vector<int64_t> shape(x.dim(), 1);
    shape[1] = -1;
    context->save_for_backward({scale.view(shape)});
    context->saved_data["dtype"] = static_cast<int64_t>(x.scalar_type());
    return at::batch_norm(x, weight, bias, mean, variance, /*training=*/false, /*momentum=*/0, epsilon,
                          /*cudnn_enabled=*/true);
  }
  // Of operators that have gradients themselves: it can be differentiated again.
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto gradient = gradients[0] * context->get_saved_variables()[0];
    const auto dtype = static_cast<at::ScalarType>(context->saved_data["dtype"].toInt());
    return {gradient.to(dtype), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

Tensor settled_batch_norm(const Tensor& x, const OptionalTensor& weight, const OptionalTensor& bias, const Tensor& mean,
                          const Tensor& variance, double epsilon) {
  return SettledBatchNorm::apply(x, weight, bias, mean, variance, epsilon);
}

TORCH_LIBRARY_FRAGMENT(sightline, library) {
  // As in graph_ops.cc: two installations in one process must not define an operator twice.
  if (!c10::Dispatcher::singleton().findSchema({"sightline::batch_norm", ""})) {
    library.def(
        "batch_norm(Tensor x, Tensor? weight, Tensor? bias, Tensor mean, Tensor variance, float epsilon) -> Tensor",
        settled_batch_norm);
  }
}

}  // namespace

void settle_batch_norm_gradients(torch::jit::Graph& graph) {
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = *it++;
    if (!is_aten(node, "batch_norm")) continue;
    const auto training = constant_of(node->input(5)), mean = constant_of(node->input(3)),
               variance = constant_of(node->input(4));
    if (!training || training->toBool() || !mean || !mean->isTensor() || !variance || !variance->isTensor()) continue;
    Node* settled =
        graph.create(c10::Symbol::fromQualString("sightline::batch_norm"),
                     {node->input(0), node->input(1), node->input(2), node->input(3), node->input(4), node->input(7)});
    settled->insertBefore(node);
    settled->output()->copyMetadata(node->output());
    node->output()->replaceAllUsesWith(settled->output());
    node->destroy();
  }
}

}  // namespace sightline
