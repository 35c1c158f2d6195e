// Operators on weights that are packed for oneDNN, with what follows them taken in. Without a derivative.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/interned_strings.h>

#include <cstdint>

namespace sightline {

// Whether this LibTorch and this processor have them for a type; tried out once.
bool has_packed_operators(at::ScalarType dtype);

at::Tensor pack_convolution(const at::Tensor& weight, at::IntArrayRef stride, at::IntArrayRef padding,
                            at::IntArrayRef dilation, int64_t groups, at::IntArrayRef input_sizes);
at::Tensor pack_linear(const at::Tensor& weight, int64_t rows);

// sightline::packed_convolution(Tensor x, Tensor weight, Tensor? bias, Tensor? add, int[] stride, int[] padding,
//                               int[] dilation, int groups, bool relu) -> Tensor
c10::Symbol packed_convolution_symbol();
// sightline::packed_linear(Tensor x, Tensor weight, Tensor? bias, str activation) -> Tensor; "none", "relu", "gelu" or "gelu-tanh"
c10::Symbol packed_linear_symbol();

}  // namespace sightline
