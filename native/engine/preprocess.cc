#include "engine/preprocess.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_upsample_bicubic2d_aa.h>
#include <ATen/ops/_upsample_bilinear2d_aa.h>
#include <ATen/ops/tensor.h>

#include <vector>

namespace sightline {

namespace {

// One axis as Pillow resizes it: antialiased, in float, then rounded to whole levels before the other axis starts.
// LibTorch's own uint8 kernel keeps fewer bits of its weights and is 2 levels off for bicubic.
at::Tensor resize_axis(const at::Tensor& planes, std::vector<int64_t> size, bool is_bicubic) {
  if (planes.size(2) == size[0] && planes.size(3) == size[1]) return planes;
  const auto resized = is_bicubic ? at::_upsample_bicubic2d_aa(planes, size, /*align_corners=*/false)
                                  : at::_upsample_bilinear2d_aa(planes, size, /*align_corners=*/false);
  // Pillow rounds halves up.
  return (resized + 0.5).floor_().clamp_(0, 255);
}

}  // namespace

at::Tensor normalisation(const Preprocessing& how) {
  std::vector<double> values(how.mean.begin(), how.mean.end());
  values.insert(values.end(), how.std.begin(), how.std.end());
  return at::tensor(values, at::TensorOptions().dtype(at::kFloat)).view({2, 3, 1, 1});
}

at::Tensor preprocess(const at::Tensor& pixels, const Preprocessing& how, const at::Tensor& normalisation) {
  auto planes = pixels.permute({2, 0, 1}).unsqueeze(0).to(at::kFloat).contiguous();
  planes = resize_axis(planes, {planes.size(2), how.resized_width}, how.is_bicubic);
  planes = resize_axis(planes, {how.resized_height, how.resized_width}, how.is_bicubic);
  auto image = planes.squeeze(0)
                   .narrow(1, how.crop_top, how.height)
                   .narrow(2, how.crop_left, how.width);
  // In torchvision's order, so that the result is equal to the bit: to [0, 1], then mean, then deviation.
  return ((image / 255.0) - normalisation[0]) / normalisation[1];
}

}  // namespace sightline
