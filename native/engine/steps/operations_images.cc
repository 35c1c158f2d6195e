// Operations on images, and algorithms that are no tensor arithmetic.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/upsample_bicubic2d.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <vector>

#include "engine/algorithms/additive_model.h"
#include "engine/algorithms/attention_flow.h"
#include "engine/algorithms/cluster_masks.h"
#include "engine/algorithms/coalitions.h"
#include "engine/algorithms/components.h"
#include "engine/algorithms/felzenszwalb.h"
#include "engine/algorithms/gaussian_blur.h"
#include "engine/algorithms/linear_imputation.h"
#include "engine/algorithms/non_negative_factors.h"
#include "engine/algorithms/region_ranking.h"
#include "engine/algorithms/spectrum.h"
#include "engine/algorithms/upload.h"
#include "engine/steps/operation_builders.h"

namespace sightline {

namespace {

at::Tensor upsample(const at::Tensor& x, const Attributes& set) {
  const auto size = set.integers("size");
  const auto& mode = set.text("mode");
  const bool corners = set.boolean("align_corners");
  const auto rows = x.size(-2), columns = x.size(-1);
  const auto planes = x.reshape({-1, 1, rows, columns});
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes[sizes.size() - 2] = size[0];
  sizes[sizes.size() - 1] = size[1];
  const auto resized = mode == "nearest"   ? at::upsample_nearest2d(planes, size)
                       : mode == "bicubic" ? at::upsample_bicubic2d(planes, size, corners)
                                           : at::upsample_bilinear2d(planes, size, corners);
  return resized.reshape(sizes);
}

// What the host has made itself, on the device; the host need not read it back.
at::Tensor uploaded_twin(const at::Tensor& host, at::Device device, const StepContext& context) {
  const auto here = host.to(at::kFloat);
  const auto there = upload(here, device);
  context.twins->add(there, here);
  return there;
}

Tensors segments_of(const Tensors& in, const Attributes& set, const StepContext& context) {
  const auto segments =
      felzenszwalb(in[0], {set.numbers("scales"), set.number("sigma"), set.integer("smallest")}, *context.cancelled);
  return {uploaded_twin(segments.labels, in[0].device(), context),
          uploaded_twin(segments.counts, in[0].device(), context)};
}

Tensors ranked_regions(const Tensors& in, const Attributes& set, const StepContext& context) {
  const RankingSettings settings{set.integer("dilation"), set.integer("least_added"), set.number("area"),
                                 set.boolean("is_fast")};
  return {rank_regions(in[0], context.twins->on_host(in[1]), settings, *context.cancelled)};
}

CoalitionSettings coalition_settings(const Attributes& set) {
  const auto& sampling = set.text("sampling");
  return {sampling == "kernel" ? Sampling::Kernel
          : sampling == "half" ? Sampling::Half
                               : Sampling::HalfAndWhole,
          set.integer("samples"), static_cast<uint64_t>(set.number("seed"))};
}

// Of each row: the last input, or the setting `segments` where all have as many.
std::vector<int64_t> segment_counts(const Tensors& in, const Attributes& set, const StepContext& context) {
  const auto rows = in[0].size(0);
  if (set.has("segments")) return std::vector<int64_t>(static_cast<size_t>(rows), set.integer("segments"));
  const auto counts = context.twins->on_host(in.back()).to(at::kLong).contiguous();
  return {counts.const_data_ptr<int64_t>(), counts.const_data_ptr<int64_t>() + rows};
}

// What each row's sample shows, [rows, segments] with zeros after a row's own, and what it weighs.
Tensors coalitions(const Tensors& in, const Attributes& set, const StepContext& context) {
  const auto settings = coalition_settings(set);
  const auto counts = segment_counts(in, set, context);
  const auto samples = context.twins->on_host(in[0]).to(at::kLong).contiguous();
  const auto rows = samples.size(0), most = *std::max_element(counts.begin(), counts.end());
  auto shows = at::zeros({rows, most}, at::kFloat), weights = at::empty({rows}, at::kFloat);
  for (int64_t row = 0; row < rows; ++row) {
    const auto coalition =
        coalition_of(counts[static_cast<size_t>(row)], samples.const_data_ptr<int64_t>()[row], settings);
    weights.mutable_data_ptr<float>()[row] = static_cast<float>(coalition.weight);
    auto* out = shows.mutable_data_ptr<float>() + row * most;
    for (size_t segment = 0; segment < coalition.shows.size(); ++segment)
      out[segment] = coalition.shows[segment] ? 1 : 0;
  }
  return {upload(shows, in[0].device()), upload(weights, in[0].device())};
}

// Scores and weights [batch, samples]; of Shapley's the scores of the whole image and of nothing, [batch].
Tensors additive_models(const Tensors& in, const Attributes& set, const StepContext& context) {
  const auto& regression = set.text("regression");
  const AdditiveSettings settings{regression == "shapley" ? Regression::Shapley
                                  : regression == "ridge" ? Regression::Ridge
                                                          : Regression::Lasso,
                                  set.number("alpha"), coalition_settings(set)};
  const auto counts = segment_counts(in, set, context);
  const bool has_ends = settings.regression == Regression::Shapley;
  const auto scores = in[0].detach().cpu(), weights = in[1].detach().cpu();
  const auto whole = has_ends ? in[2].detach().cpu() : at::Tensor();
  const auto nothing = has_ends ? in[3].detach().cpu() : at::Tensor();
  const auto batch = scores.size(0), most = *std::max_element(counts.begin(), counts.end());
  auto values = at::zeros({batch, most}, at::kFloat), fits = at::empty({batch}, at::kFloat);
  for (int64_t image = 0; image < batch; ++image) {
    Observed observed{scores[image], weights[image]};
    if (has_ends) {
      observed.whole = whole[image].item<double>();
      observed.nothing = nothing[image].item<double>();
    }
    const auto count = counts[static_cast<size_t>(image)];
    const auto model = fit_additive_model(count, observed, settings, *context.cancelled);
    values[image].narrow(0, 0, count).copy_(model.values);
    fits.mutable_data_ptr<float>()[image] = static_cast<float>(model.fit);
  }
  return {upload(values, in[0].device()), upload(fits, in[0].device())};
}

// Each place gets the value of its label: [batch, labels] and [batch, height, width] to [batch, height, width].
at::Tensor paint(const at::Tensor& values, const at::Tensor& labels) {
  return values.gather(1, labels.flatten(1).to(at::kLong)).view(labels.sizes());
}

}  // namespace

Operations image_operations() {
  return {
      {"upsample", unary(&upsample)},
      {"blur", on_host(unary([](const at::Tensor& x, const Attributes& set) {
         return gaussian_blur(x, set.integer("size"), set.number("sigma"));
       }))},
      {"real_from_spectrum", on_host(unary([](const at::Tensor& x, const Attributes& set) {
         const auto size = set.integers("size");
         return real_from_spectrum(x, size[0], size[1]);
       }))},
      {"principal_component",
       on_host(unary([](const at::Tensor& x, const Attributes&) { return principal_component(x); }))},
      {"kernel_component", on_host(unary([](const at::Tensor& x, const Attributes&) { return kernel_component(x); }))},
      {"attention_flow", on_host(with_context({1, Count::kAny},
                                              [](const Tensors& in, const Attributes& set, const StepContext& context) {
                                                return Tensors{
                                                    attention_flow(in, set.integer("source"), *context.cancelled)};
                                              }))},
      {"additive_model", on_host(with_context({2, 5}, additive_models, {2, 2}))},
      {"coalitions", on_host(with_context({1, 2}, coalitions, {2, 2}))},
      {"paint", binary(&paint)},
      {"felzenszwalb", on_host(with_context({1, 1}, segments_of, {2, 2}))},
      {"rank_regions", on_host(with_context({2, 2}, ranked_regions))},
      {"impute", on_host(with_context({2, 2},
                                      [](const Tensors& in, const Attributes&, const StepContext& context) {
                                        return Tensors{linear_imputation(in[0], in[1], *context.cancelled)};
                                      }))},
      {"cluster_masks", on_host(with_context({1, 1},
                                             [](const Tensors& in, const Attributes& set, const StepContext& context) {
                                               auto clusters = cluster_masks(in[0], set.number("threshold"));
                                               return Tensors{clusters.sums,
                                                              uploaded_twin(clusters.count, in[0].device(), context)};
                                             },
                                             {2, 2}))},
      {"non_negative_factors",
       on_host(with_context({1, 1},
                            [](const Tensors& in, const Attributes& set, const StepContext& context) {
                              auto factors = non_negative_factors(in[0], set.integer("components"), *context.cancelled);
                              return Tensors{factors.vectors, factors.maps};
                            },
                            {2, 2}))},
  };
}

}  // namespace sightline
