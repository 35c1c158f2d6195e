#include "engine/algorithms/largest_eigenpair.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>

namespace sightline {

namespace {

constexpr int64_t kDense = 256;     // up to this size all eigenvectors take no longer
constexpr int64_t kSteps = 200;     // vectors kept at once
constexpr int64_t kCheckEvery = 10;
constexpr int kRestarts = 10;
constexpr double kEigenTolerance = 1e-12;
constexpr double kClosed = 1e-14;

Eigenpair by_all_eigenvectors(const at::Tensor& matrix) {
  const auto [values, vectors] = at::linalg_eigh(matrix);
  const auto last = values.size(0) - 1;
  return {values[last].item<double>(), vectors.select(1, last).contiguous()};
}

// Any fixed vector that is no eigenvector of anything of interest.
at::Tensor start_vector(const at::Tensor& matrix) {
  std::mt19937 random(0);
  auto start = at::empty({matrix.size(0)}, at::kDouble);
  for (int64_t i = 0; i < start.size(0); ++i) start.data_ptr<double>()[i] = random() / 4294967296.0 - 0.5;
  return start.to(matrix.device());
}

}  // namespace

Eigenpair largest_eigenpair(const at::Tensor& matrix) {
  const auto size = matrix.size(0);
  if (size <= kDense) return by_all_eigenvectors(matrix);
  auto start = start_vector(matrix);
  for (int restart = 0; restart < kRestarts; ++restart) {
    auto basis = at::empty({kSteps, size}, matrix.options());
    basis[0].copy_(start / start.norm());
    auto projected = at::zeros({kSteps, kSteps}, at::kDouble);  // the matrix in that basis: tridiagonal
    auto* entries = projected.data_ptr<double>();
    double previous = 0, scale = 0;
    for (int64_t step = 0; step < kSteps; ++step) {
      auto next = matrix.mv(basis[step]);
      entries[step * kSteps + step] = basis[step].dot(next).item<double>();
      if (step > 0) entries[step * kSteps + step - 1] = entries[(step - 1) * kSteps + step] = previous;
      // Against all vectors so far, twice: rounding lets plain Lanczos vectors lose their orthogonality.
      const auto known = basis.narrow(0, 0, step + 1);
      for (int i = 0; i < 2; ++i) next -= known.t().mv(known.mv(next));
      const auto beta = next.norm().item<double>();
      scale = std::max({scale, beta, std::abs(entries[step * kSteps + step])});
      const bool is_last = step + 1 == kSteps;
      // What is left is rounding: the basis spans all that the matrix makes of the start vector.
      const bool is_closed = beta <= kClosed * scale;
      if ((step + 1) % kCheckEvery == 0 || is_last || is_closed) {
        const auto [values, vectors] = at::linalg_eigh(projected.narrow(0, 0, step + 1).narrow(1, 0, step + 1));
        const auto value = values[step].item<double>();
        const auto weights = vectors.select(1, step).contiguous();
        const auto residual = beta * std::abs(weights[step].item<double>());
        const bool is_done = is_closed || residual <= kEigenTolerance * std::abs(value);
        if (is_done || is_last) {
          start = known.t().mv(weights.to(matrix.device()));
          start /= start.norm();
        }
        if (is_done) return {value, start};
        if (is_last) break;
      }
      basis[step + 1].copy_(next / beta);
      previous = beta;
    }
  }
  return by_all_eigenvectors(matrix);
}

}  // namespace sightline
