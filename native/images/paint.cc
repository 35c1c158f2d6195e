#include "images/paint.h"

#include <algorithm>
#include <cmath>

namespace sightline {

namespace {

// A row of the map at the picture's width, in units of colours.
void widen(const Painting& of, int64_t row, float* out) {
  const float* const values = of.map + row * of.columns;
  for (int64_t x = of.left; x < of.right; ++x) {
    const float left = values[of.across.low[x]];
    out[x - of.left] = (left + of.across.mix[x] * (values[of.across.high[x]] - left) - of.smallest) * of.stretch;
  }
}

}  // namespace

void paint(const Painting& of) {
  const int64_t count = of.right - of.left;
  if (count <= 0) return;
  // A row of the map lies under several of the picture's, so the two in use are kept.
  std::vector<float> kept[2] = {std::vector<float>(count), std::vector<float>(count)};
  int64_t kept_row[2] = {-1, -1};
  const auto upsampled_row = [&](int64_t row, int64_t other) -> const float* {
    for (int slot = 0; slot < 2; ++slot) {
      if (kept_row[slot] == row) return kept[slot].data();
    }
    const int slot = kept_row[0] == other ? 1 : 0;
    widen(of, row, kept[slot].data());
    kept_row[slot] = row;
    return kept[slot].data();
  };
  std::vector<int32_t> level(count);
  for (int64_t y = of.top; y < of.bottom; ++y) {
    const float* const upper = upsampled_row(of.down.low[y], of.down.high[y]);
    const float* const lower = upsampled_row(of.down.high[y], of.down.low[y]);
    const float share = of.down.mix[y];
    // Without branches or tables, so that the compiler makes vectors of it.
    for (int64_t x = 0; x < count; ++x) {
      const float colour = upper[x] + share * (lower[x] - upper[x]) + 0.5f;
      level[x] = 3 * static_cast<int32_t>(std::min(255.0f, std::max(0.0f, colour)));
    }
    uint8_t* pixel = of.picture + 3 * (y * of.width + of.left);
    for (int64_t x = 0; x < count; ++x, pixel += 3) {
      const uint8_t* const colour = of.colours + level[x];
      for (int channel = 0; channel < 3; ++channel) pixel[channel] = of.mixtures[colour[channel] << 8 | pixel[channel]];
    }
  }
}

}  // namespace sightline
