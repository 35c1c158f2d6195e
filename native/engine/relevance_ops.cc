// Operators that return a value as it is and give its gradient another one: the parts that relevance rules are made of.
//
// Each takes x, from which an operator of the model computed y out of autograd's sight, returns y, and lets what arrives
// for y flow to x by a rule of its own. They compute in float32 where the model does not.
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
using OptionalTensor = std::optional<Tensor>;

Tensor wide(const Tensor& x) { return at::isReducedFloatingType(x.scalar_type()) ? x.to(at::kFloat) : x; }

// Undefined for none, as saved variables are.
Tensor saved(const OptionalTensor& x) { return x ? *x : Tensor(); }
Tensor wide_or_undefined(const Tensor& x) { return x.defined() ? wide(x) : x; }

// -- Guides ------------------------------------------------------------------------------------------------------------

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

// -- Gradient times value is relevance ---------------------------------------------------------------------------------

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

std::vector<int64_t> last_axes(int64_t count) {
  std::vector<int64_t> axes;
  for (int64_t axis = -count; axis < 0; ++axis) axes.push_back(axis);
  return axes;
}

struct LayerNormGradient : Function<LayerNormGradient> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y, int64_t axes, const OptionalTensor& weight,
                        double epsilon) {
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
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y, int64_t groups, const OptionalTensor& weight,
                        double epsilon) {
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
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y, int64_t axes, const OptionalTensor& weight,
                        double epsilon) {
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

// -- Layers, in one form for linear ones and convolutions --------------------------------------------------------------

// A linear layer, or a convolution with its stride, padding, dilation and groups.
struct Layer {
  bool is_convolution = false;
  std::vector<int64_t> stride, padding, dilation;
  int64_t groups = 1;

  void save(AutogradContext* context) const {
    context->saved_data["is_convolution"] = is_convolution;
    context->saved_data["stride"] = stride;
    context->saved_data["padding"] = padding;
    context->saved_data["dilation"] = dilation;
    context->saved_data["groups"] = groups;
  }
  static Layer of(AutogradContext* context) {
    return {context->saved_data["is_convolution"].toBool(), context->saved_data["stride"].toIntVector(),
            context->saved_data["padding"].toIntVector(), context->saved_data["dilation"].toIntVector(),
            context->saved_data["groups"].toInt()};
  }
  Tensor forward(const Tensor& x, const Tensor& weight, const OptionalTensor& bias = std::nullopt) const {
    if (!is_convolution) return at::linear(x, weight, bias);
    return at::convolution(x, weight, bias, stride, padding, dilation, false, std::vector<int64_t>(stride.size(), 0), groups);
  }
  // One number a channel, laid out to be added to outputs like y.
  Tensor of_channels(const Tensor& numbers, const Tensor& y) const {
    if (!is_convolution) return numbers;
    std::vector<int64_t> shape(y.dim(), 1);
    shape[1] = -1;
    return numbers.view(shape);
  }
  // What arrives at the outputs, sent back through the weight to inputs shaped like x.
  Tensor backward(const Tensor& arrived, const Tensor& x, const Tensor& weight) const {
    if (!is_convolution) return at::matmul(arrived, weight);
    return std::get<0>(at::convolution_backward(arrived, x, weight, std::nullopt, stride, padding, dilation, false,
                                                std::vector<int64_t>(stride.size(), 0), groups, {true, false, false}));
  }
};

// Away from zero by epsilon, on the side where x is.
Tensor stabilised(const Tensor& x, double epsilon) { return x + at::where(x >= 0, epsilon, -epsilon).to(x.scalar_type()); }

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

// -- The gradient itself is relevance ----------------------------------------------------------------------------------

// numerator / denominator with Chefer's epsilon, which comes to adding 1e-9 on either side of zero; 0 where the denominator is 0.
Tensor safe_divide(const Tensor& numerator, const Tensor& denominator) {
  const auto moved = denominator + 1e-9;
  return (numerator / moved.masked_fill(moved == 0, 1e-9)).masked_fill(denominator == 0, 0);
}

struct RelevanceFromGradient : Function<RelevanceFromGradient> {
  static Tensor forward(AutogradContext* context, const Tensor& x, double factor) {
    context->save_for_backward({x});
    context->saved_data["factor"] = factor;
    return x;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto x = context->get_saved_variables()[0];
    return {gradients[0] * x * context->saved_data["factor"].toDouble(), Tensor()};
  }
};

struct GradientFromRelevance : Function<GradientFromRelevance> {
  static Tensor forward(AutogradContext* context, const Tensor& y) {
    context->save_for_backward({y});
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto y = context->get_saved_variables()[0];
    return {safe_divide(wide(gradients[0]), wide(y)).to(y.scalar_type())};
  }
};

struct LayerRelevance : Function<LayerRelevance> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y, const Tensor& weight, const Layer& layer) {
    context->save_for_backward({x, weight});
    layer.save(context);
    return y;
  }
  // Each output's relevance goes to the inputs that drive it up, in proportion; the bias gets none.
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto values = context->get_saved_variables();
    const auto layer = Layer::of(context);
    const auto x = wide(values[0]), weight = wide(values[1]), relevance = wide(gradients[0]);
    const auto result = layer.is_convolution && x.size(1) == 3 ? bounded(layer, x, weight, relevance)
                                                               : positive_part(layer, x, weight, relevance);
    return {result.to(values[0].scalar_type()), Tensor(), Tensor(), Tensor()};
  }

  static Tensor positive_part(const Layer& layer, const Tensor& x, const Tensor& weight, const Tensor& relevance) {
    const auto up = weight.clamp_min(0), down = weight.clamp_max(0);
    const auto positive = x.clamp_min(0), negative = x.clamp_max(0);
    const auto share = safe_divide(relevance, layer.forward(positive, up) + layer.forward(negative, down));
    return positive * layer.backward(share, x, up) + negative * layer.backward(share, x, down);
  }

  // Of pixels, which have both signs and known bounds: Montavon et al. 2017, with each image's own bounds.
  static Tensor bounded(const Layer& layer, const Tensor& x, const Tensor& weight, const Tensor& relevance) {
    const auto up = weight.clamp_min(0), down = weight.clamp_max(0);
    const std::vector<int64_t> axes{1, 2, 3};
    const auto low = x.amin(axes, /*keepdim=*/true).expand_as(x), high = x.amax(axes, /*keepdim=*/true).expand_as(x);
    const auto sum = layer.forward(x, weight) - layer.forward(low, up) - layer.forward(high, down) + 1e-9;
    const auto share = relevance / sum;
    return x * layer.backward(share, x, weight) - low * layer.backward(share, x, up) - high * layer.backward(share, x, down);
  }
};

struct SumRelevance : Function<SumRelevance> {
  static Tensor forward(AutogradContext* context, const Tensor& a, const Tensor& b, const Tensor& y, double factor) {
    context->save_for_backward({a, b, y});
    context->saved_data["factor"] = factor;
    return y;
  }
  // In proportion to the summands, then both rescaled so that their sums over one image keep that of what arrived.
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto values = context->get_saved_variables();
    const auto relevance = wide(gradients[0]);
    const auto share = safe_divide(relevance, wide(values[2]));
    const auto of_image = [](const Tensor& x) {
      auto axes = last_axes(x.dim() - 1);
      return axes.empty() ? x : x.sum(axes, /*keepdim=*/true);
    };
    const auto a = wide(values[0]) * share;
    const auto b = wide(values[1]) * context->saved_data["factor"].toDouble() * share;
    const auto a_sum = of_image(a), b_sum = of_image(b), total = of_image(relevance);
    const auto both = a_sum.abs() + b_sum.abs();
    const auto rescaled = [&](const Tensor& part, const Tensor& sum, const Tensor& like) {
      return (part * safe_divide(safe_divide(sum.abs(), both) * total, sum)).sum_to_size(like.sizes()).to(like.scalar_type());
    };
    return {rescaled(a, a_sum, values[0]), rescaled(b, b_sum, values[1]), Tensor(), Tensor()};
  }
};

struct AttentionRelevance : Function<AttentionRelevance> {
  static Tensor forward(AutogradContext* context, const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& y,
                        const OptionalTensor& mask, bool is_causal, std::optional<double> scale) {
    context->save_for_backward({query, key, value, y, saved(mask)});
    context->saved_data["is_causal"] = is_causal;
    context->saved_data["scale"] = scale ? *scale : 1 / std::sqrt(static_cast<double>(query.size(-1)));
    return y;
  }
  // Both products halve; softmax, scale and mask let relevance pass. As of the opened attention, operator by operator.
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto values = context->get_saved_variables();
    const auto query = wide(values[0]), key = wide(values[1]), value = wide(values[2]);
    const auto scores = at::matmul(query * context->saved_data["scale"].toDouble(), key.transpose(-2, -1));
    auto masked = scores;
    if (values[4].defined()) {
      const bool is_choice = values[4].scalar_type() == at::kBool;
      masked = is_choice ? scores.masked_fill(values[4].logical_not(), -std::numeric_limits<double>::infinity())
                         : scores + wide(values[4]);
    }
    if (context->saved_data["is_causal"].toBool()) {
      const auto seen = at::ones({scores.size(-2), scores.size(-1)}, scores.options().dtype(at::kBool)).tril();
      masked = masked.masked_fill(seen.logical_not(), -std::numeric_limits<double>::infinity());
    }
    const auto attention = at::_safe_softmax(masked, -1);
    const auto share = safe_divide(wide(gradients[0]), wide(values[3]));
    const auto at_attention = attention * at::matmul(share, value.transpose(-2, -1)) / 2;
    const auto at_value = value * at::matmul(attention.transpose(-2, -1), share) / 2;
    const auto score_share = safe_divide(at_attention, scores) * context->saved_data["scale"].toDouble();
    const auto at_query = query * at::matmul(score_share, key) / 2;
    const auto at_key = key * at::matmul(score_share.transpose(-2, -1), query) / 2;
    const auto like = [](const Tensor& x, const Tensor& original) {
      return x.sum_to_size(original.sizes()).to(original.scalar_type());
    };
    return {like(at_query, values[0]), like(at_key, values[1]), like(at_value, values[2]), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

// -- As operators ------------------------------------------------------------------------------------------------------

Tensor cut_gradient(const Tensor& x) { return CutGradient::apply(x); }
Tensor stop_gradient(const Tensor& x) { return StopGradient::apply(x); }
Tensor scale_gradient(const Tensor& x, double factor) { return ScaleGradient::apply(x, factor); }
Tensor pass_gradient(const Tensor& x, const Tensor& y) { return PassGradient::apply(x, y.detach()); }
Tensor pass_ratio(const Tensor& x, const Tensor& y) { return PassRatio::apply(x, y.detach()); }

Tensor layer_norm_gradient(const Tensor& x, const Tensor& y, std::vector<int64_t> shape, const OptionalTensor& weight, double epsilon) {
  return LayerNormGradient::apply(x, y.detach(), static_cast<int64_t>(shape.size()), weight, epsilon);
}
Tensor group_norm_gradient(const Tensor& x, const Tensor& y, int64_t groups, const OptionalTensor& weight, double epsilon) {
  return GroupNormGradient::apply(x, y.detach(), groups, weight, epsilon);
}
Tensor rms_norm_gradient(const Tensor& x, const Tensor& y, std::vector<int64_t> shape, const OptionalTensor& weight,
                         std::optional<double> epsilon) {
  const double least = std::numeric_limits<float>::epsilon();
  return RmsNormGradient::apply(x, y.detach(), static_cast<int64_t>(shape.size()), weight, epsilon.value_or(least));
}

Tensor gamma_linear_gradient(const Tensor& x, const Tensor& y, const Tensor& weight, const OptionalTensor& bias, double gamma) {
  return GammaGradient::apply(x, y.detach(), weight, bias, gamma, Layer{});
}
Tensor gamma_convolution_gradient(const Tensor& x, const Tensor& y, const Tensor& weight, const OptionalTensor& bias, double gamma,
                                  std::vector<int64_t> stride, std::vector<int64_t> padding, std::vector<int64_t> dilation,
                                  int64_t groups) {
  return GammaGradient::apply(x, y.detach(), weight, bias, gamma, Layer{true, stride, padding, dilation, groups});
}

Tensor relevance_from_gradient(const Tensor& x, double factor) { return RelevanceFromGradient::apply(x, factor); }
Tensor gradient_from_relevance(const Tensor& y) { return GradientFromRelevance::apply(y); }
Tensor linear_relevance(const Tensor& x, const Tensor& y, const Tensor& weight) {
  return LayerRelevance::apply(x, y.detach(), weight, Layer{});
}
Tensor convolution_relevance(const Tensor& x, const Tensor& y, const Tensor& weight, std::vector<int64_t> stride,
                             std::vector<int64_t> padding, std::vector<int64_t> dilation, int64_t groups) {
  return LayerRelevance::apply(x, y.detach(), weight, Layer{true, stride, padding, dilation, groups});
}
Tensor sum_relevance(const Tensor& a, const Tensor& b, const Tensor& y, double factor) {
  return SumRelevance::apply(a, b, y.detach(), factor);
}
Tensor offset_relevance(const Tensor& x, const Tensor& constant, const Tensor& y, double factor) {
  int64_t long_axes = 0;
  for (const auto size : constant.sizes()) long_axes += size > 1 ? 1 : 0;
  return long_axes <= 1 ? PassGradient::apply(x, y.detach()) : SumRelevance::apply(x, constant, y.detach(), factor);
}
Tensor attention_relevance(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& y, const OptionalTensor& mask,
                           bool is_causal, std::optional<double> scale) {
  return AttentionRelevance::apply(query, key, value, y.detach(), mask, is_causal, scale);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sightline, library) {
  // As in graph_ops.cc: two installations in one process must not define an operator twice. One by one, since an older one
  // may have fewer.
  const auto define = [&](const std::string& schema, auto* function) {
    const auto name = "sightline::" + schema.substr(0, schema.find('('));
    if (!c10::Dispatcher::singleton().findSchema({name, ""})) library.def(schema.c_str(), function);
  };
  // x; its gradient is the positive part of what arrives.
  define("cut_gradient(Tensor x) -> Tensor", &cut_gradient);
  // x; nothing flows into it. Unlike detach, the result requires a gradient where x does, so that it can be a tap.
  define("stop_gradient(Tensor x) -> Tensor", &stop_gradient);
  // x; its gradient is what arrives, times the factor.
  define("scale_gradient(Tensor x, float factor) -> Tensor", &scale_gradient);
  // y; what arrives goes to x, as if y were x.
  define("pass_gradient(Tensor x, Tensor y) -> Tensor", &pass_gradient);
  // y; what arrives goes to x, times y / x.
  define("pass_ratio(Tensor x, Tensor y) -> Tensor", &pass_ratio);
  // y, the norm of x; its deviation is held fast.
  define("layer_norm_gradient(Tensor x, Tensor y, int[] shape, Tensor? weight, float epsilon) -> Tensor", &layer_norm_gradient);
  define("group_norm_gradient(Tensor x, Tensor y, int groups, Tensor? weight, float epsilon) -> Tensor", &group_norm_gradient);
  define("rms_norm_gradient(Tensor x, Tensor y, int[] shape, Tensor? weight, float? epsilon) -> Tensor", &rms_norm_gradient);
  // y, a layer's output; gradient times input is the relevance of the gamma rule.
  define("gamma_linear_gradient(Tensor x, Tensor y, Tensor weight, Tensor? bias, float gamma) -> Tensor", &gamma_linear_gradient);
  define(
      "gamma_convolution_gradient(Tensor x, Tensor y, Tensor weight, Tensor? bias, float gamma, int[] stride, int[] padding, "
      "int[] dilation, int groups) -> Tensor",
      &gamma_convolution_gradient);
  // x and y, around an operator that sums multiples of x: between them the gradient is relevance over y.
  define("relevance_from_gradient(Tensor x, float factor) -> Tensor", &relevance_from_gradient);
  define("gradient_from_relevance(Tensor y) -> Tensor", &gradient_from_relevance);
  // y, a layer's output; relevance goes to the inputs that raise it.
  define("linear_relevance(Tensor x, Tensor y, Tensor weight) -> Tensor", &linear_relevance);
  define(
      "convolution_relevance(Tensor x, Tensor y, Tensor weight, int[] stride, int[] padding, int[] dilation, int groups) -> Tensor",
      &convolution_relevance);
  // y = a + factor * b, axis 0 being the images'.
  define("sum_relevance(Tensor a, Tensor b, Tensor y, float factor) -> Tensor", &sum_relevance);
  // y = x + factor * constant. A bias, which has one axis, gets no relevance; position embeddings get their share.
  define("offset_relevance(Tensor x, Tensor constant, Tensor y, float factor) -> Tensor", &offset_relevance);
  // y, what attention makes of the three.
  define(
      "attention_relevance(Tensor query, Tensor key, Tensor value, Tensor y, Tensor? mask, bool is_causal, float? scale) -> Tensor",
      &attention_relevance);
}

}  // namespace sightline
