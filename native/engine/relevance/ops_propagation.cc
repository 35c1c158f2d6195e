// Operators (see relevance_ops.cc) under which the gradient itself is relevance.
#include "engine/relevance/functions.h"

#include <ATen/ops/_safe_softmax.h>
#include <ATen/ops/ones.h>

#include <cmath>
#include <limits>

namespace sightline::relevance {

namespace {

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
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& y, const Tensor& weight,
                        const Layer& layer) {
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
    return x * layer.backward(share, x, weight) - low * layer.backward(share, x, up) -
           high * layer.backward(share, x, down);
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
      return (part * safe_divide(safe_divide(sum.abs(), both) * total, sum))
          .sum_to_size(like.sizes())
          .to(like.scalar_type());
    };
    return {rescaled(a, a_sum, values[0]), rescaled(b, b_sum, values[1]), Tensor(), Tensor()};
  }
};

struct AttentionRelevance : Function<AttentionRelevance> {
  static Tensor forward(AutogradContext* context, const Tensor& query, const Tensor& key, const Tensor& value,
                        const Tensor& y, const OptionalTensor& mask, bool is_causal, std::optional<double> scale) {
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
    return {like(at_query, values[0]),
            like(at_key, values[1]),
            like(at_value, values[2]),
            Tensor(),
            Tensor(),
            Tensor(),
            Tensor()};
  }
};

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
  return long_axes <= 1 ? pass_gradient(x, y) : SumRelevance::apply(x, constant, y.detach(), factor);
}
Tensor attention_relevance(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& y,
                           const OptionalTensor& mask, bool is_causal, std::optional<double> scale) {
  return AttentionRelevance::apply(query, key, value, y.detach(), mask, is_causal, scale);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sightline, library) {
  // x and y, around an operator that sums multiples of x: between them the gradient is relevance over y.
  define(library, "relevance_from_gradient(Tensor x, float factor) -> Tensor", &relevance_from_gradient);
  define(library, "gradient_from_relevance(Tensor y) -> Tensor", &gradient_from_relevance);
  // y, a layer's output; relevance goes to the inputs that raise it.
  define(library, "linear_relevance(Tensor x, Tensor y, Tensor weight) -> Tensor", &linear_relevance);
  define(library,
         "convolution_relevance(Tensor x, Tensor y, Tensor weight, int[] stride, int[] padding, int[] dilation, int "
         "groups) -> Tensor",
         &convolution_relevance);
  // y = a + factor * b, axis 0 being the images'.
  define(library, "sum_relevance(Tensor a, Tensor b, Tensor y, float factor) -> Tensor", &sum_relevance);
  // y = x + factor * constant. A bias, which has one axis, gets no relevance; position embeddings get their share.
  define(library, "offset_relevance(Tensor x, Tensor constant, Tensor y, float factor) -> Tensor", &offset_relevance);
  // y, what attention makes of the three.
  define(library,
         "attention_relevance(Tensor query, Tensor key, Tensor value, Tensor y, Tensor? mask, bool is_causal, float? "
         "scale) -> Tensor",
         &attention_relevance);
}

}  // namespace sightline::relevance
