// Operators on weights that are packed for oneDNN, with what follows them taken in. Without a derivative.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/interned_strings.h>

#include <cstdint>
#include <optional>
#include <string>

namespace sightline {

// Whether this LibTorch and this processor have them for a type; tried out once.
bool has_packed_operators(at::ScalarType dtype);

// Whether they outrun LibTorch's own linear layers: in bf16 and f16 always. In f32 LibTorch multiplies by MKL, which
// keeps its AVX-512 kernels for Intel's processors. On others oneDNN takes 0.4 to 0.9 of its time (AMD Zen 5: 0.43 with
// AVX-512, 0.85 with AVX2). On Intel's nothing was measured: MKL stays.
bool outruns_linear(at::ScalarType dtype);

// Images that weights are packed for: oneDNN's layouts hardly depend on it.
constexpr int64_t kPackedImages = 8;

at::Tensor pack_convolution(const at::Tensor& weight, at::IntArrayRef stride, at::IntArrayRef padding,
                            at::IntArrayRef dilation, int64_t groups, at::IntArrayRef input_sizes);
at::Tensor pack_linear(const at::Tensor& weight, int64_t rows);

// `weight` packed or plain, of any strides; `activation`: "none", "relu", "gelu" or "gelu-tanh".
at::Tensor run_packed_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                             std::string activation);

// sightline::packed_convolution(Tensor x, Tensor weight, Tensor? bias, Tensor? add, int[] stride, int[] padding,
//                               int[] dilation, int groups, bool relu) -> Tensor
c10::Symbol packed_convolution_symbol();
// sightline::packed_linear(Tensor x, Tensor weight, Tensor? bias, str activation) -> Tensor
c10::Symbol packed_linear_symbol();

}  // namespace sightline
