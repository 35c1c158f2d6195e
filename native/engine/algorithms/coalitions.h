// Which segments of an image a masked copy of it shows.
#pragma once

#include <cstdint>
#include <vector>

namespace sightline {

// `Kernel`: as many as Kernel SHAP's weights say, 1 / (k (n - k)) for k of n, but neither none nor all; which, is drawn. All
// of them in turn where there are no more than samples; then each has its weight, and later samples have none.
// `Half`: each segment by a coin. `HalfAndWhole`: the same, but the first sample shows all.
enum class Sampling { Kernel, Half, HalfAndWhole };

struct CoalitionSettings {
  Sampling sampling = Sampling::Half;
  int64_t samples = 1;
  uint64_t seed = 0;
};

struct Coalition {
  std::vector<bool> shows;  // by segment
  double weight = 1;
};

// The coalition of `count` segments, at least 1, that a sample shows. Numbers that are drawn come from the seed and the
// sample alone: one for the size, then one for each segment, as LibTorch's uniform numbers on the CPU from a generator
// of seed * 1000003 + sample. Throws EngineError INVALID_INPUT where Kernel has fewer samples than segments.
Coalition coalition_of(int64_t count, int64_t sample, const CoalitionSettings& settings);

}  // namespace sightline
