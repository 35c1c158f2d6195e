#include "engine/algorithms/additive_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/errors.h"

namespace sightline {

namespace {

// Of the largest eigenvalue: below it the samples say nothing of a direction.
constexpr double kUndecided = 1e-10;
// Of the largest value: by so little the last round of the lasso changes any.
constexpr double kConverged = 1e-10;
constexpr int kMostSweeps = 100'000;

// Rows are samples that count: which segments each shows.
struct Rows {
  at::Tensor shows;    // [rows, count]
  at::Tensor scores;   // [rows]
  at::Tensor weights;  // [rows], that sum to 1
};

Rows rows_of(int64_t count, const Observed& observed, const CoalitionSettings& coalitions) {
  const auto weights = observed.weights.to(at::kDouble).contiguous();
  const auto counted = weights > 0;
  const auto kept = counted.nonzero().squeeze(1);
  auto shows = at::zeros({kept.size(0), count}, at::kDouble);
  for (int64_t row = 0; row < kept.size(0); ++row) {
    const auto coalition = coalition_of(count, kept.const_data_ptr<int64_t>()[row], coalitions);
    auto* out = shows.mutable_data_ptr<double>() + row * count;
    for (int64_t segment = 0; segment < count; ++segment) {
      out[segment] = coalition.shows[static_cast<size_t>(segment)] ? 1 : 0;
    }
  }
  const auto own = weights.index_select(0, kept);
  return {shows, observed.scores.to(at::kDouble).index_select(0, kept), own / own.sum()};
}

// The smallest solution of a symmetric, positive semidefinite system to whose diagonal `added` is added.
at::Tensor smallest_solution(const at::Tensor& matrix, const at::Tensor& right, double added) {
  const auto [eigenvalues, vectors] = at::linalg_eigh(matrix);
  const auto least = std::max(eigenvalues.max().item<double>(), 0.0) * kUndecided;
  const auto shifted = eigenvalues + added;
  const auto is_known = shifted > std::max(least, std::numeric_limits<double>::min());
  const auto inverse = at::where(is_known, 1 / shifted, at::zeros_like(shifted));
  return vectors.mv(inverse * vectors.t().mv(right));
}

// Coordinate by coordinate: the smallest of half the mean square and alpha times the values' sizes.
at::Tensor lasso(const at::Tensor& products, const at::Tensor& right, double alpha,
                 const std::function<bool()>& cancelled) {
  const auto count = right.size(0);
  auto values = at::zeros_like(right);
  // What each coordinate's product lacks of the right side.
  const auto rest = right.clone();
  auto* lacks = rest.mutable_data_ptr<double>();
  auto* value = values.mutable_data_ptr<double>();
  for (int round = 0; round < kMostSweeps; ++round) {
    if (cancelled && cancelled()) throw EngineError("ABORTED", "The request was aborted.");
    double farthest = 0, largest = 0;
    for (int64_t i = 0; i < count; ++i) {
      const auto* row = products.const_data_ptr<double>() + i * count;
      // A segment that is shown in all samples or in none.
      if (row[i] <= 0) continue;
      const auto pull = lacks[i] + row[i] * value[i];
      const auto next = std::abs(pull) > alpha ? (pull - std::copysign(alpha, pull)) / row[i] : 0.0;
      const auto change = next - value[i];
      for (int64_t other = 0; other < count; ++other) lacks[other] -= change * row[other];
      value[i] = next;
      farthest = std::max(farthest, std::abs(change));
      largest = std::max(largest, std::abs(next));
    }
    if (farthest <= kConverged * largest) return values;
  }
  throw EngineError("INTERNAL", "the lasso did not converge");
}

// Weighted by the rows, of the last axis.
at::Tensor mean_of(const at::Tensor& x, const at::Tensor& weights) { return weights.unsqueeze(0).matmul(x).squeeze(0); }

double fit_of(const Rows& rows, const at::Tensor& predicted) {
  const auto middle = (rows.weights * rows.scores).sum();
  const auto varies = (rows.weights * (rows.scores - middle).square()).sum().item<double>();
  if (!(varies > 0)) return 1;
  return 1 - (rows.weights * (rows.scores - predicted).square()).sum().item<double>() / varies;
}

AdditiveModel shapley(int64_t count, const Rows& rows, double whole, double nothing) {
  // An equal share for each, and by how much each differs from it: that sums to 0, so everything is centered.
  const auto share = (whole - nothing) / static_cast<double>(count);
  const auto centered = rows.shows - rows.shows.mean(1, /*keepdim=*/true);
  const auto weighted = centered * rows.weights.unsqueeze(1);
  const auto left = rows.scores - nothing - rows.shows.sum(1) * share;
  const auto values = smallest_solution(weighted.t().mm(centered), weighted.t().mv(left), 0) + share;
  return {values, fit_of(rows, rows.shows.mv(values) + nothing)};
}

}  // namespace

AdditiveModel fit_additive_model(int64_t count, const Observed& observed, const AdditiveSettings& settings,
                                 const std::function<bool()>& cancelled) {
  if (cancelled && cancelled()) throw EngineError("ABORTED", "The request was aborted.");
  const bool is_shapley = settings.regression == Regression::Shapley;
  const bool is_finite = at::isfinite(observed.scores).all().item<bool>() &&
                         at::isfinite(observed.weights).all().item<bool>() && std::isfinite(observed.whole) &&
                         std::isfinite(observed.nothing);
  if (!is_finite) {
    const auto nan = std::numeric_limits<double>::quiet_NaN();
    return {at::full({count}, nan, at::kDouble), nan};
  }
  // One segment brings all that there is.
  if (is_shapley && count == 1) return {at::full({1}, observed.whole - observed.nothing, at::kDouble), 1};
  if (!(observed.weights.sum().item<double>() > 0)) {
    throw EngineError("INVALID_OPTION",
                      "No sample is near enough to the image to have any weight; choose a wider kernel.");
  }
  const auto rows = rows_of(count, observed, settings.coalitions);
  if (is_shapley) return shapley(count, rows, observed.whole, observed.nothing);
  const auto middle = mean_of(rows.scores.unsqueeze(1), rows.weights);
  const auto centers = mean_of(rows.shows, rows.weights);
  const auto centered = rows.shows - centers;
  const auto weighted = centered * rows.weights.unsqueeze(1);
  const auto products = weighted.t().mm(centered).contiguous();
  const auto right = weighted.t().mv(rows.scores - middle).contiguous();
  // Rows weigh 1 together here, and as much as they were given beside the ridge.
  const auto values =
      settings.regression == Regression::Lasso
          ? lasso(products, right, settings.alpha, cancelled)
          : smallest_solution(products, right, settings.alpha / observed.weights.to(at::kDouble).sum().item<double>());
  return {values, fit_of(rows, centered.mv(values) + middle)};
}

}  // namespace sightline
