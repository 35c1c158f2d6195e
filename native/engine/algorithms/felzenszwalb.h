// Images cut into segments of one color.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace sightline {

// On the CPU.
struct Segments {
  at::Tensor labels;  // [batch, scales, height, width] float: the number of each pixel's segment
  at::Tensor counts;  // [batch] int64: segments of all scales together
};

struct SegmentSettings {
  std::vector<double> scales;  // above 0: the larger, the larger the segments
  double sigma = 0;            // of the Gaussian that the images are smoothed by, in pixels; above 0
  int64_t smallest = 1;        // segments of fewer pixels are joined to a neighbor
};

// Felzenszwalb & Huttenlocher, Efficient Graph-Based Image Segmentation, 2004, of `images` [batch, channels, height,
// width]: pixels side by side or corner to corner are joined by the difference of their colors, the least first, where
// that is below what either segment holds already plus `scale / 255` by its size. Of equal differences those to the right
// come first, then down, down to the right and up to the right, row by row. Each scale's segments are numbered in the
// order of their first pixels, row by row, on from those of the scale before. Each image by itself; `cancelled` is asked
// between images, and EngineError ABORTED thrown when it says yes.
Segments felzenszwalb(const at::Tensor& images, const SegmentSettings& settings,
                      const std::function<bool()>& cancelled = {});

}  // namespace sightline
