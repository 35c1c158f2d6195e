#include "engine/algorithms/mean_positive_product.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>

namespace sightline {

namespace {

// At -O2 gcc leaves a loop of unknown length as it is; clang does not know the attribute and needs none.
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((optimize("O3")))
#endif
void add_positive_products(float* to, const float* x, const float* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const float product = x[i] * y[i];
    // Not std::max, which turns NaN into 0.
    to[i] += product < 0.0f ? 0.0f : product;
  }
}

}  // namespace

at::Tensor mean_positive_product(const at::Tensor& a, const at::Tensor& b, int64_t axis) {
  const bool is_plain = a.is_cpu() && a.scalar_type() == at::kFloat && b.scalar_type() == at::kFloat && a.dim() == 4 &&
                        axis == 1 && a.sizes() == b.sizes() &&
                        !(at::GradMode::is_enabled() && (a.requires_grad() || b.requires_grad()));
  if (!is_plain) return (a * b).relu().mean(axis);
  // In one pass: as three operators it reads and writes the largest tensors of a method several times.
  const auto left = a.contiguous(), right = b.contiguous();
  const auto batch = a.size(0), heads = a.size(1), rows = a.size(2), columns = a.size(3);
  auto mean = at::zeros({batch, rows, columns}, a.options());
  const auto* x = left.const_data_ptr<float>();
  const auto* y = right.const_data_ptr<float>();
  auto* out = mean.data_ptr<float>();
  at::parallel_for(0, batch * rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t head = 0; head < heads; ++head) {
        const auto from = (((row / rows) * heads + head) * rows + row % rows) * columns;
        add_positive_products(out + row * columns, x + from, y + from, columns);
      }
    }
  });
  return mean.div_(static_cast<double>(heads));
}

}  // namespace sightline
