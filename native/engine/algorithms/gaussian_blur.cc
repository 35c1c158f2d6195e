#include "engine/algorithms/gaussian_blur.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/reflection_pad2d.h>

#include "engine/algorithms/upload.h"
#include "engine/errors.h"

namespace sightline {

at::Tensor gaussian_blur(const at::Tensor& x, int64_t size, double sigma) {
  if (size < 1 || size % 2 == 0 || !(sigma > 0)) {
    throw EngineError("INTERNAL", "a blur needs an odd size and a positive sigma");
  }
  const auto half = size / 2, height = x.size(-2), width = x.size(-1);
  if (half >= height || half >= width) {
    throw EngineError("INTERNAL", "a blur over " + std::to_string(size) + " pixels does not fit an image of " +
                                      std::to_string(height) + " x " + std::to_string(width));
  }
  const auto offsets = at::arange(-half, half + 1, at::kDouble);
  auto weights = (-offsets.square() / (2 * sigma * sigma)).exp();
  weights = upload((weights / weights.sum()).to(x.scalar_type()), x.device());
  const auto planes = at::reflection_pad2d(x.reshape({-1, 1, height, width}), {half, half, half, half});
  // A Gaussian is the product of one along the rows and one along the columns.
  const auto along_rows = at::conv2d(planes, weights.view({1, 1, 1, size}));
  return at::conv2d(along_rows, weights.view({1, 1, size, 1})).reshape(x.sizes());
}

}  // namespace sightline
