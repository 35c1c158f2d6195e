#include "engine/algorithms/linear_imputation.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/avg_pool2d.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/upsample_bilinear2d_backward.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <vector>

#include "engine/errors.h"

namespace sightline {

namespace {

// Coarser grids than this are solved by smoothing alone.
constexpr int64_t kCoarsest = 4;
constexpr int kCoarsestSweeps = 10;
constexpr double kDamping = 0.8;
constexpr double kResidual = 1e-6;
// Few known pixels, far from one another, took 41 rounds; a map's regions take 3 to 11.
constexpr int kMostRounds = 300;
// Keeps 0 / 0 of planes that are solved already at 0.
constexpr double kTiny = 1e-30;

// Each value twice, and its two neighbors along an axis once.
at::Tensor spread_along(const at::Tensor& x, int64_t axis) {
  auto sum = x * 2;
  const auto others = x.size(axis) - 1;
  sum.narrow(axis, 0, others).add_(x.narrow(axis, 1, others));
  sum.narrow(axis, 1, others).add_(x.narrow(axis, 0, others));
  return sum;
}

// The weighted sum of the eight neighbors; the weights are an outer product of [1, 2, 1] but for the center.
at::Tensor neighbors(const at::Tensor& x) { return (spread_along(spread_along(x, -1), -2) - x * 4) / 12; }

// The system on one grid: s x - m K(m x), where K sums neighbors, s is the sum of the weights inside of the image, and m
// is 1 where a pixel was removed. Coarser grids have the share of removed pixels for m.
struct Grid {
  explicit Grid(at::Tensor removed)
      : m(std::move(removed)),
        s(neighbors(at::ones({1, 1, m.size(-2), m.size(-1)}, m.options()))),
        step(kDamping / s) {}

  at::Tensor times(const at::Tensor& x) const { return s * x - m * neighbors(m * x); }
  at::Tensor smoothed(const at::Tensor& x, const at::Tensor& right) const { return x + step * (right - times(x)); }

  at::Tensor m, s, step;
};

// An approximate solution on grid `at`, symmetric in the right side, as conjugate gradients ask of a preconditioner: the
// same smoothing before and after, and a restriction that is the transpose of the interpolation.
at::Tensor cycle(const std::vector<Grid>& grids, size_t at, const at::Tensor& right) {
  const auto& grid = grids[at];
  auto x = grid.step * right;
  if (at + 1 == grids.size()) {
    for (int sweep = 0; sweep < kCoarsestSweeps; ++sweep) x = grid.smoothed(x, right);
    return x;
  }
  x = grid.smoothed(x, right);
  const auto rest = (grid.m * (right - grid.times(x))).contiguous();
  const auto& coarse = grids[at + 1].m;
  const std::vector<int64_t> fine{rest.size(-2), rest.size(-1)};
  const std::vector<int64_t> coarse_sizes{rest.size(0), rest.size(1), coarse.size(-2), coarse.size(-1)};
  const auto restricted = at::upsample_bilinear2d_backward(rest, fine, coarse_sizes, /*align_corners=*/false);
  const auto correction = at::upsample_bilinear2d(cycle(grids, at + 1, restricted), fine, /*align_corners=*/false);
  x = x + grid.m * correction;
  return grid.smoothed(grid.smoothed(x, right), right);
}

// Of each plane by itself.
at::Tensor dot(const at::Tensor& a, const at::Tensor& b) { return (a * b).sum({-2, -1}, /*keepdim=*/true); }

}  // namespace

at::Tensor linear_imputation(const at::Tensor& images, const at::Tensor& removed,
                             const std::function<bool()>& cancelled) {
  const at::NoGradGuard none;
  std::vector<Grid> grids;
  grids.emplace_back(removed.unsqueeze(1));
  while (std::min(grids.back().m.size(-2), grids.back().m.size(-1)) > kCoarsest) {
    grids.emplace_back(at::avg_pool2d(grids.back().m, 2, 2, 0, /*ceil_mode=*/true));
  }
  const auto& grid = grids.front();
  const auto known = images * (1 - grid.m);
  const auto right = grid.m * neighbors(known);
  const auto smallest = dot(right, right) * (kResidual * kResidual);

  auto x = at::zeros_like(known), rest = right;
  // A plane that is solved stays as it is while others go on: each image is filled in as if alone.
  auto open = dot(rest, rest) > smallest;
  at::Tensor direction, previous;
  for (int round = 0; open.any().item<bool>(); ++round) {
    if (cancelled && cancelled()) throw EngineError("ABORTED", "The request was aborted.");
    if (round == kMostRounds) throw EngineError("INTERNAL", "the imputation of removed pixels did not converge");
    const auto preconditioned = grid.m * cycle(grids, 0, rest);
    const auto product = dot(rest, preconditioned);
    direction = round == 0 ? preconditioned : preconditioned + product / previous.clamp_min(kTiny) * direction;
    const auto moved = grid.m * grid.times(direction);
    const auto length = product / dot(direction, moved).clamp_min(kTiny) * open;
    x = x + length * direction;
    rest = rest - length * moved;
    open = open.logical_and(dot(rest, rest) > smallest);
    previous = product;
  }
  return known + grid.m * x;
}

}  // namespace sightline
