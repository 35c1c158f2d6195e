#include "engine/algorithms/legacy_random.h"

#include <cmath>

namespace sightline {

double LegacyRandom::uniform() {
  const auto high = static_cast<uint32_t>(twister_()) >> 5, low = static_cast<uint32_t>(twister_()) >> 6;
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

double LegacyRandom::normal() {
  if (has_second_) {
    has_second_ = false;
    return second_;
  }
  double x, y, square;
  do {
    x = 2 * uniform() - 1;
    y = 2 * uniform() - 1;
    square = x * x + y * y;
  } while (square >= 1 || square == 0);
  const double factor = std::sqrt(-2 * std::log(square) / square);
  has_second_ = true;
  second_ = factor * x;
  return factor * y;
}

}  // namespace sightline
