#include "engine/algorithms/shift.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>

#include <vector>

#include "engine/errors.h"

namespace sightline {

namespace {

// Takes, along `axis` of [batch, planes, height, width], the positions [batch, count] of each image.
at::Tensor take_each(const at::Tensor& planes, int64_t axis, const at::Tensor& positions) {
  auto sizes = planes.sizes().vec();
  sizes[axis] = positions.size(1);
  std::vector<int64_t> view{positions.size(0), 1, 1, 1};
  view[axis] = positions.size(1);
  return planes.gather(axis, positions.view(view).expand(sizes));
}

// [batch, count]: offset, offset + 1, ...
at::Tensor count_from(const at::Tensor& offsets, int64_t count) {
  return offsets.unsqueeze(1) + at::arange(count, offsets.options()).unsqueeze(0);
}

at::Tensor whole(const at::Tensor& offsets, const at::Tensor& x) {
  const auto rounded = offsets.is_floating_point() ? offsets.detach().floor() : offsets;
  return rounded.to(x.device(), at::kLong);
}

at::Tensor take_both(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& columns) {
  const auto height = x.size(-2), width = x.size(-1);
  const auto planes = x.reshape({x.size(0), -1, height, width});
  auto sizes = x.sizes().vec();
  sizes[sizes.size() - 2] = rows.size(1);
  sizes[sizes.size() - 1] = columns.size(1);
  return take_each(take_each(planes, 2, rows), 3, columns).reshape(sizes);
}

}  // namespace

at::Tensor roll_each(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& columns) {
  const auto height = x.size(-2), width = x.size(-1);
  // at::remainder has the divisor's sign, so that shifts either way end inside the image.
  return take_both(x, count_from(-whole(rows, x), height).remainder(height),
                   count_from(-whole(columns, x), width).remainder(width));
}

at::Tensor crop_each(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& columns, int64_t height,
                     int64_t width) {
  const auto free_rows = x.size(-2) - height, free_columns = x.size(-1) - width;
  if (height < 1 || width < 1 || free_rows < 0 || free_columns < 0) {
    throw EngineError("INTERNAL", "a cut of " + std::to_string(height) + " x " + std::to_string(width) +
                                      " does not lie in an image of " + std::to_string(x.size(-2)) + " x " +
                                      std::to_string(x.size(-1)));
  }
  // An index outside would end a CUDA context, not just this call.
  return take_both(x, count_from(whole(rows, x).clamp(0, free_rows), height),
                   count_from(whole(columns, x).clamp(0, free_columns), width));
}

}  // namespace sightline
