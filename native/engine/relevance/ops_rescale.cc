// Operators (see ops.cc) under which gradient times difference is what the difference of two images adds to the score.
#include "engine/relevance/functions.h"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/max_pool2d_with_indices.h>
#include <ATen/ops/max_pool2d_with_indices_backward.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

namespace sightline::relevance {

namespace {

// Below this a difference is none, and the derivative takes the ratio's place, as in captum.
constexpr double kLeastDifference = 1e-10;

Tensor is_near(const Tensor& difference) { return difference.abs() < kLeastDifference; }

// Where a difference is less than the root of the rounding, of the values' size, as well: its ratio is more of rounding
// than of the function, and the derivative misses its part by the square of the difference, which is rounding alone.
Tensor is_close(const Tensor& x, const Tensor& x0) {
  const double share = x.scalar_type() == at::kDouble ? 0x1p-26 : 0x1p-12;
  const auto size = at::maximum(x.abs(), x0.abs());
  return (x - x0).abs() < (size * share).clamp_min(kLeastDifference);
}

struct Rescale : Function<Rescale> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y, const Tensor& x0,
                        const Tensor& y0) {
    context->save_for_backward({x, y.detach(), x0, y0});
    return y;
  }
  // To y, which knows its derivative, flows what arrives where x does not differ; to x, past y, the rest.
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto values = context->get_saved_variables();
    const auto difference = values[0] - values[2];
    const auto near = is_close(values[0], values[2]);
    const auto nothing = at::zeros_like(gradients[0]);
    const auto rescaled = gradients[0] * (values[1] - values[3]) / difference;
    return {at::where(near, nothing, rescaled), at::where(near, gradients[0], nothing), Tensor(), Tensor()};
  }
};

// (1 - exp(-|d|)) / |d|, which is 1 at 0: exp(larger) times this is the slope of exp between two places d apart.
Tensor slope_below(const Tensor& difference) {
  const auto distance = difference.abs();
  return at::where(distance == 0, at::ones_like(distance), -(-distance).expm1() / distance);
}

// Softmax as exp(x - log(sum(exp(x)))): the slopes of exp and log between both images, each at most 1.
struct RescaleSoftmax : Function<RescaleSoftmax> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y, const Tensor& x0, const Tensor&,
                        int64_t axis) {
    context->save_for_backward({x, x0});
    context->saved_data["axis"] = axis;
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto values = context->get_saved_variables();
    const auto axis = context->saved_data["axis"].toInt();
    const auto &x = values[0], &x0 = values[1];
    const auto logarithm = at::log_softmax(x, axis), logarithm0 = at::log_softmax(x0, axis);
    // What is masked on both images, -inf, has no difference.
    const auto apart = [](const Tensor& a, const Tensor& b) { return at::where(a == b, at::zeros_like(a), a - b); };
    const auto arrived =
        gradients[0] * at::maximum(logarithm, logarithm0).exp() * slope_below(apart(logarithm, logarithm0));
    const auto normalizer = x.logsumexp(axis, true), normalizer0 = x0.logsumexp(axis, true);
    const auto share = (at::maximum(x, x0) - at::maximum(normalizer, normalizer0)).exp() * slope_below(apart(x, x0)) /
                       slope_below(normalizer - normalizer0);
    const auto result = arrived - share * arrived.sum(axis, true);
    return {result.to(x.scalar_type()), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

// A layer norm as the product of the centered x and 1 / sqrt(mean(square(centered)) + epsilon).
struct RescaleLayerNorm : Function<RescaleLayerNorm> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y, const Tensor& x0, const Tensor&,
                        int64_t axes, const OptionalTensor& weight, double epsilon) {
    context->save_for_backward({x, x0, saved(weight)});
    context->saved_data["axes"] = axes;
    context->saved_data["epsilon"] = epsilon;
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto values = context->get_saved_variables();
    const auto axes = last_axes(context->saved_data["axes"].toInt());
    const auto epsilon = context->saved_data["epsilon"].toDouble();
    const auto centered = values[0] - values[0].mean(axes, true), centered0 = values[1] - values[1].mean(axes, true);
    const auto scale = (centered.square().mean(axes, true) + epsilon).rsqrt();
    const auto scale0 = (centered0.square().mean(axes, true) + epsilon).rsqrt();
    const auto middle = (centered + centered0) / 2;
    auto gradient = gradients[0];
    if (values[2].defined()) gradient = gradient * values[2];
    // The slope of 1 / sqrt between both variances; that of the square between both values is twice their mean.
    const auto slope = -scale.square() * scale0.square() / (scale + scale0);
    const auto of_scale = (gradient * middle).mean(axes, true) * slope;
    const auto result = gradient * (scale + scale0) / 2 + of_scale * 2 * middle;
    return {result - result.mean(axes, true), Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

struct Window {
  std::vector<int64_t> size, stride, padding, dilation;
  bool is_ceiled;
};

// What the maximum gains goes to the place that it is taken from on the image, where the image's is the larger one;
// what it loses, to the place that the baseline's was taken from.
struct RescaleMaxPool2d : Function<RescaleMaxPool2d> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y, const Tensor& x0, const Tensor& y0,
                        const Window& window) {
    context->save_for_backward({x, y.detach(), x0, y0});
    context->saved_data["size"] = window.size;
    context->saved_data["stride"] = window.stride;
    context->saved_data["padding"] = window.padding;
    context->saved_data["dilation"] = window.dilation;
    context->saved_data["is_ceiled"] = window.is_ceiled;
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto values = context->get_saved_variables();
    const Window window{context->saved_data["size"].toIntVector(), context->saved_data["stride"].toIntVector(),
                        context->saved_data["padding"].toIntVector(), context->saved_data["dilation"].toIntVector(),
                        context->saved_data["is_ceiled"].toBool()};
    const auto &x = values[0], &y = values[1], &x0 = values[2], &y0 = values[3];
    const auto spread = [&](const Tensor& arrived, const Tensor& input) {
      const auto places = std::get<1>(at::max_pool2d_with_indices(input, window.size, window.stride, window.padding,
                                                                  window.dilation, window.is_ceiled));
      return at::max_pool2d_with_indices_backward(arrived, input, window.size, window.stride, window.padding,
                                                  window.dilation, window.is_ceiled, places);
    };
    const auto larger = at::maximum(y, y0);
    const auto amount = spread(gradients[0] * (larger - y0), x) + spread(gradients[0] * (y - larger), x0);
    const auto difference = x - x0;
    const auto result = at::where(is_near(difference), spread(gradients[0], x), amount / difference);
    return {result, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

Tensor rescale_gradient(const Tensor& x, const Tensor& y, const Tensor& x0, const Tensor& y0) {
  return Rescale::apply(x, y, x0, y0);
}
Tensor rescale_softmax_gradient(const Tensor& x, const Tensor& y, const Tensor& x0, const Tensor& y0, int64_t axis) {
  return RescaleSoftmax::apply(x, y.detach(), x0, y0, axis);
}
Tensor rescale_layer_norm_gradient(const Tensor& x, const Tensor& y, const Tensor& x0, const Tensor& y0,
                                   std::vector<int64_t> shape, const OptionalTensor& weight, double epsilon) {
  return RescaleLayerNorm::apply(x, y.detach(), x0, y0, static_cast<int64_t>(shape.size()), weight, epsilon);
}
Tensor rescale_max_pool2d_gradient(const Tensor& x, const Tensor& y, const Tensor& x0, const Tensor& y0,
                                   std::vector<int64_t> size, std::vector<int64_t> stride, std::vector<int64_t> padding,
                                   std::vector<int64_t> dilation, bool is_ceiled) {
  return RescaleMaxPool2d::apply(x, y.detach(), x0, y0, Window{size, stride, padding, dilation, is_ceiled});
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sightline, library) {
  // y, a function of x's elements, y0 that of x0's; what arrives goes to x, times (y - y0) / (x - x0).
  define(library, "rescale_gradient(Tensor x, Tensor y, Tensor x0, Tensor y0) -> Tensor", &rescale_gradient);
  // y, the softmax of x along the axis.
  define(library, "rescale_softmax_gradient(Tensor x, Tensor y, Tensor x0, Tensor y0, int axis) -> Tensor",
         &rescale_softmax_gradient);
  // y, the layer norm of x.
  define(library,
         "rescale_layer_norm_gradient(Tensor x, Tensor y, Tensor x0, Tensor y0, int[] shape, Tensor? weight, float "
         "epsilon) -> Tensor",
         &rescale_layer_norm_gradient);
  // y, the largest of each window of x.
  define(library,
         "rescale_max_pool2d_gradient(Tensor x, Tensor y, Tensor x0, Tensor y0, int[] size, int[] stride, int[] "
         "padding, int[] dilation, bool is_ceiled) -> Tensor",
         &rescale_max_pool2d_gradient);
}

}  // namespace sightline::relevance
