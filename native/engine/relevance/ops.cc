// Operators that return a value as it is and give its gradient another one: the parts that relevance rules are made of.
//
// Most take x, from which an operator of the model computed y out of autograd's sight, return y, and let what arrives for y
// flow to x by a rule of their own. They compute in float32 where the model does not. Here: those that guide what arrives.
#include "engine/relevance/functions.h"

namespace sightline::relevance {

namespace {

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

}  // namespace

Tensor pass_gradient(const Tensor& x, const Tensor& y) { return PassGradient::apply(x, y.detach()); }

TORCH_LIBRARY_FRAGMENT(sightline, library) {
  // x; its gradient is the positive part of what arrives.
  define(library, "cut_gradient(Tensor x) -> Tensor", &cut_gradient);
  // x; nothing flows into it. Unlike detach, the result requires a gradient where x does, so that it can be a tap.
  define(library, "stop_gradient(Tensor x) -> Tensor", &stop_gradient);
  // x; its gradient is what arrives, times the factor.
  define(library, "scale_gradient(Tensor x, float factor) -> Tensor", &scale_gradient);
  // y; what arrives goes to x, as if y were x.
  define(library, "pass_gradient(Tensor x, Tensor y) -> Tensor", &pass_gradient);
}

}  // namespace sightline::relevance
