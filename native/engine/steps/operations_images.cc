// Operations on images, and algorithms that are no tensor arithmetic.
#include <ATen/TensorOperators.h>
#include <ATen/ops/upsample_bicubic2d.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/upsample_nearest2d.h>

#include "engine/algorithms/attention_flow.h"
#include "engine/algorithms/cluster_masks.h"
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
