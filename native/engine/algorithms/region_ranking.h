// A map of how densely regions are attributed to.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace sightline {

struct RankingSettings {
  int64_t dilation = 0;     // by how many pixels each segment is widened, in a disk; regions overlap then
  int64_t least_added = 1;  // a region that adds fewer pixels is left out; at least 1
  double area = 1;          // the share of the image after which no further region is taken
  bool is_fast = false;     // regions in the order of their own means, whatever was taken before; `area` does not count
};

// Kapishnikov et al., XRAI, 2019: `attributions` [batch, height, width] and `segments` [batch, scales, height, width], whose
// labels are numbers from 0 on, each in one scale alone. Region after region is taken, always the one of which the pixels
// that are not taken yet have the largest mean; each of them gets that mean. Of equal means the region with the lowest
// label comes first. Pixels that are left get the mean of their own. The result is [batch, height, width],
// on the attributions' device. `cancelled`
// is asked between regions, and EngineError ABORTED thrown when it says yes.
at::Tensor rank_regions(const at::Tensor& attributions, const at::Tensor& segments, const RankingSettings& settings,
                        const std::function<bool()>& cancelled = {});

}  // namespace sightline
