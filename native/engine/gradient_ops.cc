// Operators that return a value as it is and give its gradient another one: the parts that relevance rules are made of.
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "engine/pch.h"

namespace sightline {

namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct CutGradient : Function<CutGradient> {
  static Tensor forward(AutogradContext*, const Tensor& x) { return x; }
  static variable_list backward(AutogradContext*, const variable_list& gradients) { return {gradients[0].relu()}; }
};

struct StopGradient : Function<StopGradient> {
  static Tensor forward(AutogradContext*, const Tensor& x) { return x; }
  static variable_list backward(AutogradContext*, const variable_list&) { return {Tensor()}; }
};

struct ScaleGradient : Function<ScaleGradient> {
  static Tensor forward(AutogradContext* context, const Tensor& x, double factor) {
    context->saved_data["factor"] = factor;
    return x;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {gradients[0] * context->saved_data["factor"].toDouble(), Tensor()};
  }
};

struct PassGradient : Function<PassGradient> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y) {
    context->saved_data["sizes"] = x.sizes().vec();
    context->saved_data["dtype"] = x.scalar_type();
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto sizes = context->saved_data["sizes"].toIntVector();
    // Where x was broadcast.
    return {gradients[0].sum_to_size(sizes).to(context->saved_data["dtype"].toScalarType()), Tensor()};
  }
};

Tensor cut_gradient(const Tensor& x) { return CutGradient::apply(x); }
Tensor stop_gradient(const Tensor& x) { return StopGradient::apply(x); }
Tensor scale_gradient(const Tensor& x, double factor) { return ScaleGradient::apply(x, factor); }
Tensor pass_gradient(const Tensor& x, const Tensor& y) { return PassGradient::apply(x, y.detach()); }

}  // namespace

TORCH_LIBRARY_FRAGMENT(sightline, library) {
  // As in graph_ops.cc: two installations in one process must not define an operator twice.
  if (c10::Dispatcher::singleton().findSchema({"sightline::cut_gradient", ""})) return;
  // x; its gradient is the positive part of what arrives.
  library.def("cut_gradient(Tensor x) -> Tensor", &cut_gradient);
  // x; nothing flows into it. Unlike detach, the result requires a gradient where x does, so that it can be a tap.
  library.def("stop_gradient(Tensor x) -> Tensor", &stop_gradient);
  // x; its gradient is what arrives, times the factor.
  library.def("scale_gradient(Tensor x, float factor) -> Tensor", &scale_gradient);
  // y; what arrives goes to x, as if y were x.
  library.def("pass_gradient(Tensor x, Tensor y) -> Tensor", &pass_gradient);
}

}  // namespace sightline
