// Products of linear layers, by whichever of LibTorch's libraries is faster on this processor.
#pragma once

#include <ATen/core/Tensor.h>

namespace sightline {

// In float32 LibTorch multiplies by MKL, which keeps its AVX-512 kernels for Intel's processors. On others oneDNN takes
// 0.4 to 0.9 of its time (AMD Zen 5: 0.43 with AVX-512, 0.85 with AVX2). Of Intel's nothing was measured: MKL stays.
bool multiplies_faster_by_onednn();

// x [..., inputs] times weight [outputs, inputs] transposed, weight of any strides. Without a derivative.
at::Tensor linear_product(const at::Tensor& x, const at::Tensor& weight);

}  // namespace sightline
