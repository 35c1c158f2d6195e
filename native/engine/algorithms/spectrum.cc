#include "engine/algorithms/spectrum.h"

#include <ATen/ops/fft_irfft2.h>
#include <ATen/ops/view_as_complex.h>

#include <vector>

#include "engine/errors.h"

namespace sightline {

at::Tensor real_from_spectrum(const at::Tensor& x, int64_t height, int64_t width) {
  if (x.dim() < 3 || x.size(-3) != height || x.size(-2) != width / 2 + 1 || x.size(-1) != 2) {
    throw EngineError("INTERNAL", "a spectrum of " + std::to_string(height) + " x " + std::to_string(width) +
                                      " pixels has the shape [..., " + std::to_string(height) + ", " +
                                      std::to_string(width / 2 + 1) + ", 2]");
  }
  const std::vector<int64_t> sizes{height, width}, axes{-2, -1};
  return at::fft_irfft2(at::view_as_complex(x.contiguous()), sizes, axes, "ortho");
}

}  // namespace sightline
