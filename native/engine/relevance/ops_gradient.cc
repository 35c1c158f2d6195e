// Operators (see relevance_ops.cc) under which gradient times value is relevance.
#include "engine/relevance/functions.h"

#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <limits>

namespace sightline::relevance {

namespace {

struct PassRatio : Function<PassRatio> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y) {
    context->save_for_backward({x, y});
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto values = context->get_saved_variables();
    // The stabiliser has no sign, as in LXT: where it matters the ratio is of zeros.
    const auto ratio = wide(values[1]) / (wide(values[0]) + 1e-10);
    return {(gradients[0] * ratio).to(values[0].scalar_type()), Tensor()};
  }
};

// Of (x - mean) / deviation * weight with the deviation held fast, over the last axes of [..., group].
Tensor normalised_gradient(const Tensor& x, const Tensor& gradient, at::IntArrayRef axes, double epsilon) {
  const auto deviation = (x.var(axes, /*unbiased=*/false, /*keepdim=*/true) + epsilon).sqrt();
  return (gradient - gradient.mean(axes, /*keepdim=*/true)) / deviation;
}

struct LayerNormGradient : Function<LayerNormGradient> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y, int64_t axes,
                        const OptionalTensor& weight, double epsilon) {
    context->save_for_backward({x, saved(weight)});
    context->saved_data["axes"] = axes;
    context->saved_data["epsilon"] = epsilon;
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto values = context->get_saved_variables();
    auto gradient = wide(gradients[0]);
    if (values[1].defined()) gradient = gradient * wide(values[1]);
    const auto result = normalised_gradient(wide(values[0]), gradient, last_axes(context->saved_data["axes"].toInt()),
                                            context->saved_data["epsilon"].toDouble());
    return {result.to(values[0].scalar_type()), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

struct GroupNormGradient : Function<GroupNormGradient> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y, int64_t groups,
                        const OptionalTensor& weight, double epsilon) {
    context->save_for_backward({x, saved(weight)});
    context->saved_data["groups"] = groups;
    context->saved_data["epsilon"] = epsilon;
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto values = context->get_saved_variables();
    const auto x = wide(values[0]);
    auto gradient = wide(gradients[0]);
    if (values[1].defined()) {
      std::vector<int64_t> shape(x.dim(), 1);
      shape[1] = -1;
      gradient = gradient * wide(values[1]).view(shape);
    }
    const std::vector<int64_t> grouped{x.size(0), context->saved_data["groups"].toInt(), -1};
    const auto result = normalised_gradient(x.reshape(grouped), gradient.reshape(grouped), {-1},
                                            context->saved_data["epsilon"].toDouble());
    return {result.reshape(x.sizes()).to(values[0].scalar_type()), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

struct RmsNormGradient : Function<RmsNormGradient> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y, int64_t axes,
                        const OptionalTensor& weight, double epsilon) {
    context->save_for_backward({x, saved(weight)});
    context->saved_data["axes"] = axes;
    context->saved_data["epsilon"] = epsilon;
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto values = context->get_saved_variables();
    const auto x = wide(values[0]);
    auto gradient = wide(gradients[0]);
    if (values[1].defined()) gradient = gradient * wide(values[1]);
    const auto square = x.pow(2).mean(last_axes(context->saved_data["axes"].toInt()), /*keepdim=*/true);
    const auto result = gradient * (square + context->saved_data["epsilon"].toDouble()).rsqrt();
    return {result.to(values[0].scalar_type()), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

// Away from zero by epsilon, on the side where x is.
Tensor stabilised(const Tensor& x, double epsilon) {
  return x + at::where(x >= 0, epsilon, -epsilon).to(x.scalar_type());
}

struct GammaGradient : Function<GammaGradient> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y, const Tensor& weight,
                        const OptionalTensor& bias, double gamma, const Layer& layer) {
    context->save_for_backward({x, y, weight, saved(bias)});
    context->saved_data["gamma"] = gamma;
    layer.save(context);
    return y;
  }
  // Andeol et al. 2021: what drives an output towards its own sign is strengthened by gamma, for inputs of both signs.
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto values = context->get_saved_variables();
    const auto layer = Layer::of(context);
    const auto gamma = context->saved_data["gamma"].toDouble();
    const auto x = wide(values[0]), y = wide(values[1]), weight = wide(values[2]), bias = wide_or_undefined(values[3]);
    const auto up = weight.clamp_min(0), down = weight.clamp_max(0);
    // With weights w + gamma w+ for inputs above 0 and w + gamma w- below, an output is y + gamma * (what drives it up);
    // the other way round y + gamma * (what drives it down). Both add up to what the layer gives without gamma.
    auto raising = layer.forward(x.clamp_min(0), up) + layer.forward(x.clamp_max(0), down);
    auto lowering = y - raising;
    if (bias.defined()) {
      const auto shape = layer.of_channels(bias, y);
      raising = raising + shape.clamp_min(0);
      lowering = lowering - shape + shape.clamp_max(0);
    }
    const auto relevance = wide(gradients[0]) * y;
    const auto nothing = at::zeros_like(relevance);
    const auto of_positive = at::where(y > 0, relevance / stabilised(y + gamma * raising, 1e-6), nothing);
    const auto of_negative = at::where(y < 0, relevance / stabilised(y + gamma * lowering, 1e-6), nothing);
    const auto plain = layer.backward(of_positive + of_negative, x, weight);
    const auto with_sign = layer.backward(of_positive, x, up) + layer.backward(of_negative, x, down);
    const auto against = plain - with_sign;
    const auto result = at::where(x == 0, at::zeros_like(x), plain + gamma * at::where(x > 0, with_sign, against));
    return {result.to(values[0].scalar_type()), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

Tensor pass_ratio(const Tensor& x, const Tensor& y) { return PassRatio::apply(x, y.detach()); }
Tensor layer_norm_gradient(const Tensor& x, const Tensor& y, std::vector<int64_t> shape, const OptionalTensor& weight,
                           double epsilon) {
  return LayerNormGradient::apply(x, y.detach(), static_cast<int64_t>(shape.size()), weight, epsilon);
}
Tensor group_norm_gradient(const Tensor& x, const Tensor& y, int64_t groups, const OptionalTensor& weight,
                           double epsilon) {
  return GroupNormGradient::apply(x, y.detach(), groups, weight, epsilon);
}
Tensor rms_norm_gradient(const Tensor& x, const Tensor& y, std::vector<int64_t> shape, const OptionalTensor& weight,
                         std::optional<double> epsilon) {
  const double least = std::numeric_limits<float>::epsilon();
  return RmsNormGradient::apply(x, y.detach(), static_cast<int64_t>(shape.size()), weight, epsilon.value_or(least));
}
Tensor gamma_linear_gradient(const Tensor& x, const Tensor& y, const Tensor& weight, const OptionalTensor& bias,
                             double gamma) {
  return GammaGradient::apply(x, y.detach(), weight, bias, gamma, Layer{});
}
Tensor gamma_convolution_gradient(const Tensor& x, const Tensor& y, const Tensor& weight, const OptionalTensor& bias,
                                  double gamma, std::vector<int64_t> stride, std::vector<int64_t> padding,
                                  std::vector<int64_t> dilation, int64_t groups) {
  return GammaGradient::apply(x, y.detach(), weight, bias, gamma, Layer{true, stride, padding, dilation, groups});
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sightline, library) {
  // y; what arrives goes to x, times y / x.
  define(library, "pass_ratio(Tensor x, Tensor y) -> Tensor", &pass_ratio);
  // y, the norm of x; its deviation is held fast.
  define(library, "layer_norm_gradient(Tensor x, Tensor y, int[] shape, Tensor? weight, float epsilon) -> Tensor",
         &layer_norm_gradient);
  define(library, "group_norm_gradient(Tensor x, Tensor y, int groups, Tensor? weight, float epsilon) -> Tensor",
         &group_norm_gradient);
  define(library, "rms_norm_gradient(Tensor x, Tensor y, int[] shape, Tensor? weight, float? epsilon) -> Tensor",
         &rms_norm_gradient);
  // y, a layer's output; gradient times input is the relevance of the gamma rule.
  define(library, "gamma_linear_gradient(Tensor x, Tensor y, Tensor weight, Tensor? bias, float gamma) -> Tensor",
         &gamma_linear_gradient);
  define(library,
         "gamma_convolution_gradient(Tensor x, Tensor y, Tensor weight, Tensor? bias, float gamma, int[] stride, int[] "
         "padding, "
         "int[] dilation, int groups) -> Tensor",
         &gamma_convolution_gradient);
}

}  // namespace sightline::relevance
