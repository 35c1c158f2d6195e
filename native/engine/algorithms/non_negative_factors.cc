#include "engine/algorithms/non_negative_factors.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/algorithms/legacy_random.h"
#include "engine/algorithms/upload.h"
#include "engine/errors.h"

namespace sightline {

namespace {

constexpr int kRounds = 200;
constexpr double kTolerance = 1e-4;

// Minimises |data - factor * other^T|^2 over each column of `factor` [rows, components] in turn, the others held;
// returns the sum of the projected gradient's absolute values, seen before each step.
double update(const at::Tensor& data, at::Tensor& factor, const at::Tensor& other) {
  const auto gram = other.t().mm(other).contiguous();
  const auto cross = data.mm(other).contiguous();
  const auto rows = factor.size(0), components = factor.size(1);
  const auto* g = gram.data_ptr<double>();
  const auto* c = cross.data_ptr<double>();
  auto* f = factor.data_ptr<double>();
  double violation = 0;
  for (int64_t t = 0; t < components; ++t) {
    const double curvature = g[t * components + t];
    for (int64_t i = 0; i < rows; ++i) {
      auto& value = f[i * components + t];
      double gradient = -c[i * components + t];
      for (int64_t r = 0; r < components; ++r) gradient += g[t * components + r] * f[i * components + r];
      violation += std::abs(value == 0 ? std::min(gradient, 0.0) : gradient);
      // A concept that is zero everywhere has no curvature, and stays as it is.
      if (curvature != 0) value = std::max(value - gradient / curvature, 0.0);
    }
  }
  return violation;
}

// |normal| * scale, rounded to float32 as scikit-learn's start is for float32 features.
at::Tensor random_start(LegacyRandom& random, int64_t rows, int64_t columns, double scale) {
  auto start = at::empty({rows, columns}, at::kDouble);
  auto* values = start.data_ptr<double>();
  for (int64_t i = 0; i < start.numel(); ++i) values[i] = std::abs(static_cast<float>(scale * random.normal()));
  return start;
}

// `data`: [channels, positions] in double, on the CPU.
std::pair<at::Tensor, at::Tensor> factors(const at::Tensor& data, int64_t components,
                                          const std::function<bool()>& cancelled) {
  LegacyRandom random(0);
  const double scale = static_cast<float>(std::sqrt(data.mean().item<double>() / static_cast<double>(components)));
  // The maps first: the stream's order.
  auto maps = random_start(random, components, data.size(1), scale).t().contiguous();
  auto vectors = random_start(random, data.size(0), components, scale);
  const auto transposed = data.t().contiguous();
  double first = 0;
  for (int round = 0; round < kRounds; ++round) {
    if (cancelled && cancelled()) throw EngineError("ABORTED", "The request was aborted.");
    const double violation = update(data, vectors, maps) + update(transposed, maps, vectors);
    if (round == 0) first = violation;
    if (violation <= kTolerance * first) break;
  }
  return {vectors.t(), maps.t()};
}

}  // namespace

NonNegativeFactors non_negative_factors(const at::Tensor& x, int64_t components,
                                        const std::function<bool()>& cancelled) {
  if (components < 1) throw EngineError("INTERNAL", "features have at least one factor");
  const auto features = x.detach().flatten(2).to(at::kCPU, at::kDouble).contiguous();
  if (!at::isfinite(features).all().item<bool>() || features.min().item<double>() < 0) {
    throw EngineError("INTERNAL", "only features that are finite and nowhere negative have non-negative factors");
  }
  std::vector<at::Tensor> vectors, maps;
  for (int64_t image = 0; image < features.size(0); ++image) {
    auto [vector, map] = factors(features[image], components, cancelled);
    vectors.push_back(vector);
    maps.push_back(map.reshape({components, x.size(2), x.size(3)}));
  }
  const auto there = [&](const std::vector<at::Tensor>& each) {
    return upload(at::stack(each).to(at::kFloat), x.device());
  };
  return {there(vectors), there(maps)};
}

}  // namespace sightline
