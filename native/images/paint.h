// A heatmap's colours over a picture. No LibTorch: it runs beside the engine, on whatever thread asks.
#pragma once

#include <cstdint>
#include <vector>

namespace sightline {

// Where each output pixel of one axis reads the map: cells `low` and `high`, mixed with the share `mix` of `high`.
struct AxisTaps {
  const int32_t* low;
  const int32_t* high;
  const float* mix;
};

struct Painting {
  uint8_t* picture;  // RGB, [rows, width, 3]; painted in place
  int64_t width;
  const float* map;  // row-major, `columns` wide
  int64_t columns;
  AxisTaps across;                   // for each column of the picture
  AxisTaps down;                     // for each row
  int64_t left, right, top, bottom;  // the pixels to paint: [top, bottom) x [left, right)
  float smallest;                    // the value of colour 0
  float stretch;                     // colours per unit of value
  const uint8_t* colours;            // 256 x RGB
  const uint8_t* mixtures;           // [colour << 8 | pixel]: what that colour over that pixel becomes
};

void paint(const Painting& painting);

}  // namespace sightline
