#include "engine/algorithms/components.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/algorithms/largest_eigenpair.h"
#include "engine/errors.h"

namespace sightline {

namespace {

// [batch, channels, positions] in double, each channel's mean over the positions taken away.
at::Tensor centred(const at::Tensor& x) {
  const auto rows = x.flatten(2).to(at::kDouble);
  if (!at::isfinite(rows).all().item<bool>()) {
    throw EngineError("INTERNAL", "the features hold values that are not finite, so they have no components");
  }
  // Relative to the first position, a constant channel is zero to the bit, and so is its mean: nothing is left of it
  // that a later scaling to [0, 1] could blow up.
  const auto shifted = rows - rows.narrow(2, 0, 1);
  return shifted - shifted.mean(2, /*keepdim=*/true);
}

// Components are given up to their sign; explanations want the strongest position positive.
at::Tensor signed_map(const at::Tensor& scores, const at::Tensor& x) {
  const auto low = scores.amin(1, /*keepdim=*/true);
  const auto high = scores.amax(1, /*keepdim=*/true);
  return at::where(low.abs() > high.abs(), -scores, scores).view({x.size(0), x.size(2), x.size(3)}).to(x.scalar_type());
}

}  // namespace

at::Tensor principal_component(const at::Tensor& x) {
  const auto features = centred(x);
  const auto transposed = features.transpose(1, 2);
  if (features.size(1) <= features.size(2)) {
    const auto vectors = std::get<1>(at::linalg_eigh(features.bmm(transposed)));
    const auto direction = vectors.narrow(2, vectors.size(2) - 1, 1);
    return signed_map(transposed.bmm(direction).squeeze(2), x);
  }
  // Fewer positions than channels: the left singular vector comes from the smaller matrix, and the projection on the
  // right one is it times the singular value.
  const auto [values, vectors] = at::linalg_eigh(transposed.bmm(features));
  const auto last = values.size(1) - 1;
  const auto length = values.narrow(1, last, 1).clamp_min(0).sqrt();
  return signed_map(vectors.select(2, last) * length, x);
}

at::Tensor kernel_component(const at::Tensor& x) {
  const auto features = centred(x);
  const auto channels = static_cast<double>(features.size(1));
  std::vector<at::Tensor> scores;
  // Image by image: the kernel matrix of an early layer is large.
  for (int64_t i = 0; i < features.size(0); ++i) {
    const auto rows = features[i];
    auto kernel = rows.t().mm(rows).div_(channels).add_(1).tanh_();
    // Centring takes away any constant; taken away beforehand, that of a constant image leaves zeros to the bit.
    kernel.sub_(kernel[0][0].clone());
    const auto means = kernel.mean(0);
    kernel.sub_(means).sub_(means.unsqueeze(1)).add_(means.mean());
    const auto [value, vector] = largest_eigenpair(kernel);
    scores.push_back(vector * std::sqrt(std::max(value, 0.0)));
  }
  return signed_map(at::stack(scores), x);
}

}  // namespace sightline
