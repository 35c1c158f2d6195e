// From decoded pixels to the model's input, to Pillow's values.
#pragma once

#include "engine/pch.h"

namespace sightline {

struct Preprocessing {
  int64_t resized_width, resized_height;
  int64_t crop_left, crop_top, width, height;
  bool is_bicubic;
  std::array<double, 3> mean, std;
};

// `pixels`: [height, width, 3] uint8 RGB on the CPU. Returns [3, H, W] float32 on `device`.
at::Tensor preprocess(const at::Tensor& pixels, const Preprocessing& how, at::Device device);

}  // namespace sightline
