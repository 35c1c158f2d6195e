// Smoothing by a Gaussian.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace sightline {

// [..., height, width] to the same: each plane by itself, reflected at its borders (without repeating the border). `size`
// is the kernel's number of pixels, odd, with size / 2 less than height and width; sigma > 0 in pixels. Differentiable.
// Throws EngineError INTERNAL otherwise.
at::Tensor gaussian_blur(const at::Tensor& x, int64_t size, double sigma);

}  // namespace sightline
