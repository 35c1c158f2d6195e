#include "engine/device/preprocess.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_upsample_bicubic2d_aa.h>
#include <ATen/ops/_upsample_bilinear2d_aa.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <vector>

namespace sightline {

namespace {

// Of a picture in float32 at once. The largest picture would take 3 GB as a whole.
constexpr int64_t kStripBytes = int64_t{32} << 20;

// One axis as Pillow resizes it: antialiased, in float, then rounded to whole levels before the other axis starts.
// LibTorch's own uint8 kernel keeps fewer bits of its weights and is 2 levels off for bicubic.
at::Tensor resize_axis(const at::Tensor& planes, std::vector<int64_t> size, bool is_bicubic) {
  if (planes.size(2) == size[0] && planes.size(3) == size[1]) return planes;
  const auto resized = is_bicubic ? at::_upsample_bicubic2d_aa(planes, size, /*align_corners=*/false)
                                  : at::_upsample_bilinear2d_aa(planes, size, /*align_corners=*/false);
  // Pillow rounds halves up.
  return (resized + 0.5).floor_().clamp_(0, 255);
}

// As Pillow's mode L: ITU-R 601 in whole numbers, which float32 holds exactly.
at::Tensor gray(const at::Tensor& colours) {
  const auto parts = colours.unbind(1);
  return ((parts[0] * 19595 + parts[1] * 38470 + parts[2] * 7471 + 0x8000) / 65536).floor_().unsqueeze(1);
}

}  // namespace

at::Tensor normalisation(const Preprocessing& how) {
  std::vector<double> values(how.mean.begin(), how.mean.end());
  values.insert(values.end(), how.std.begin(), how.std.end());
  return at::tensor(values, at::TensorOptions().dtype(at::kFloat)).view({2, 3, 1, 1});
}

at::Tensor preprocess(const at::Tensor& pixels, const Preprocessing& how, const at::Tensor& normalisation) {
  const int64_t rows = pixels.size(0), columns = pixels.size(1), channels = pixels.size(2);
  const int64_t bytes_of_row = columns * channels * static_cast<int64_t>(sizeof(float));
  const int64_t most = std::clamp<int64_t>(kStripBytes / bytes_of_row, 1, rows);
  const auto in_float = pixels.options().dtype(at::kFloat);
  // Both are taken once: small results between large strips would leave holes in the heap that no further strip fits into.
  const auto numbers = at::empty({most * columns * channels}, in_float);
  const auto across = at::empty({1, how.is_gray ? 1 : channels, rows, how.width}, in_float);
  // Rows are resized each by itself, and so are columns after them: strips and an early crop change no value.
  for (int64_t row = 0; row < rows; row += most) {
    const int64_t count = std::min(most, rows - row);
    const auto colours = numbers.narrow(0, 0, count * columns * channels).view({1, channels, count, columns});
    colours.copy_(pixels.narrow(0, row, count).permute({2, 0, 1}).unsqueeze(0));
    const auto strip = how.is_gray ? gray(colours) : colours;
    const auto resized = resize_axis(strip, {count, how.resized_width}, how.is_bicubic);
    across.narrow(2, row, count).copy_(resized.narrow(3, how.crop_left, how.width));
  }
  const auto planes = resize_axis(across, {how.resized_height, how.width}, how.is_bicubic);
  const auto image = planes.squeeze(0).narrow(1, how.crop_top, how.height);
  // In torchvision's order, so that the result is equal to the bit: to [0, 1], then mean, then deviation.
  const auto constants = how.is_gray ? normalisation.narrow(1, 0, 1) : normalisation;
  const auto normalised = ((image / 255.0) - constants[0]) / constants[1];
  return how.is_bgr ? normalised.flip(0) : normalised;
}

}  // namespace sightline
