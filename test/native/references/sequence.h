// Numbers that references/make.py and the tests make alike.
#pragma once

#include <torch/script.h>

#include <vector>

namespace sightline::test {

// Multiples of 2^-24 in [0, 1), exact in float32: a linear congruential generator's upper 24 bits.
inline at::Tensor sequence(const std::vector<int64_t>& sizes, uint32_t seed) {
  auto result = at::empty(sizes, at::kFloat);
  uint32_t state = seed;
  for (int64_t i = 0; i < result.numel(); ++i) {
    state = state * 1664525u + 1013904223u;
    result.data_ptr<float>()[i] = static_cast<float>(state >> 8) / 16777216.0f;
  }
  return result;
}

inline at::Tensor tensor_of(const std::vector<float>& values, const std::vector<int64_t>& sizes) {
  return at::tensor(values, at::kFloat).view(sizes);
}

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace sightline::test
