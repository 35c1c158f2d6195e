#include "engine/algorithms/largest_eigenpair.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <random>

#include "engine/algorithms/upload.h"

namespace sightline {

namespace {

constexpr int64_t kDense = 256;  // up to this size all eigenvectors take no longer
constexpr int64_t kSteps = 200;  // vectors kept at once
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
  return upload(start, matrix.device());
}

// The matrix as the basis sees it, on the host.
class Tridiagonal {
 public:
  // `numbers`: [2, steps], contiguous: the diagonal and what is beside it. How many steps count: those up to the one at
  // which what is left is rounding, so that the basis spans all that the matrix makes of the start vector.
  int64_t learn(const at::Tensor& numbers) {
    const auto* diagonal = numbers.const_data_ptr<double>();
    const auto* beside = diagonal + numbers.size(1);
    for (; !is_closed_ && steps_ < numbers.size(1); ++steps_) {
      entries_[steps_ * kSteps + steps_] = diagonal[steps_];
      if (steps_ > 0) {
        entries_[steps_ * kSteps + steps_ - 1] = entries_[(steps_ - 1) * kSteps + steps_] = beside_[steps_ - 1];
      }
      beside_[steps_] = beside[steps_];
      scale_ = std::max({scale_, beside[steps_], std::abs(diagonal[steps_])});
      is_closed_ = beside[steps_] <= kClosed * scale_;
    }
    return steps_;
  }
  bool is_closed() const { return is_closed_; }
  double beside(int64_t step) const { return beside_[step]; }
  at::Tensor narrowed(int64_t steps) const { return matrix_.narrow(0, 0, steps).narrow(1, 0, steps); }

 private:
  at::Tensor matrix_ = at::zeros({kSteps, kSteps}, at::kDouble);
  double* entries_ = matrix_.data_ptr<double>();
  std::array<double, kSteps> beside_{};
  double scale_ = 0;
  int64_t steps_ = 0;
  bool is_closed_ = false;
};

}  // namespace

Eigenpair largest_eigenpair(const at::Tensor& matrix) {
  const auto size = matrix.size(0);
  if (size <= kDense) return by_all_eigenvectors(matrix);
  auto start = start_vector(matrix);
  for (int restart = 0; restart < kRestarts; ++restart) {
    auto basis = at::empty({kSteps, size}, matrix.options());
    basis[0].copy_(start / start.norm());
    // The matrix in that basis is tridiagonal; its numbers stay where they are made, and are fetched a few at a time,
    // since each fetch waits for the device.
    auto diagonal = at::empty({kSteps}, matrix.options()), beside = at::empty({kSteps}, matrix.options());
    Tridiagonal projected;
    for (int64_t step = 0; step < kSteps; ++step) {
      auto next = matrix.mv(basis[step]);
      diagonal[step].copy_(basis[step].dot(next));
      // Against all vectors so far, twice: rounding lets plain Lanczos vectors lose their orthogonality.
      const auto known = basis.narrow(0, 0, step + 1);
      for (int i = 0; i < 2; ++i) next -= known.t().mv(known.mv(next));
      const auto beta = next.norm();
      beside[step].copy_(beta);
      const bool is_last = step + 1 == kSteps;
      if ((step + 1) % kCheckEvery == 0 || is_last) {
        // Vectors after the one at which the basis was closed are divided by next to nothing, and not looked at.
        const auto seen = projected.learn(at::stack({diagonal, beside}).narrow(1, 0, step + 1).contiguous().cpu());
        const auto [values, vectors] = at::linalg_eigh(projected.narrowed(seen));
        const auto value = values[seen - 1].item<double>();
        const auto weights = vectors.select(1, seen - 1).contiguous();
        const auto residual = projected.beside(seen - 1) * std::abs(weights[seen - 1].item<double>());
        const bool is_done = projected.is_closed() || residual <= kEigenTolerance * std::abs(value);
        if (is_done || is_last) {
          start = basis.narrow(0, 0, seen).t().mv(upload(weights, matrix.device()));
          start /= start.norm();
        }
        if (is_done) return {value, start};
        if (is_last) break;
      }
      basis[step + 1].copy_(next / beta);
    }
  }
  return by_all_eigenvectors(matrix);
}

}  // namespace sightline
