// Images from their Fourier coefficients.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace sightline {

// [..., height, width / 2 + 1, 2] (real and imaginary part) to [..., height, width]: the real inverse Fourier transform of
// the last image axes, scaled to keep the norm. Differentiable.
at::Tensor real_from_spectrum(const at::Tensor& x, int64_t height, int64_t width);

}  // namespace sightline
