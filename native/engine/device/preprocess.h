// From decoded pixels to the model's input, to Pillow's values.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

namespace sightline {

struct Preprocessing {
  int64_t resized_width, resized_height;
  int64_t crop_left, crop_top, width, height;
  bool is_bicubic;
  std::array<double, 3> mean, std;  // of red, green and blue; of gray, three times the same
  bool is_gray = false, is_bgr = false;
};

// Mean and deviation as `preprocess` takes them: [2, 3, 1, 1] float32, on the CPU.
at::Tensor normalisation(const Preprocessing& how);

// `pixels`: [height, width, 3] uint8 RGB. Returns [3, H, W] float32, of gray [1, H, W]. Runs where `pixels` and `normalisation` lie, and
// never waits for that device.
at::Tensor preprocess(const at::Tensor& pixels, const Preprocessing& how, const at::Tensor& normalisation);

}  // namespace sightline
