// numpy's old stream of random numbers, to the bit.
#pragma once

#include <cstdint>
#include <random>

namespace sightline {

// What numpy.random.RandomState(seed).standard_normal() gives: the Mersenne twister and Marsaglia's polar method.
// std::normal_distribution is no substitute, since its numbers are each standard library's own.
class LegacyRandom {
 public:
  explicit LegacyRandom(uint32_t seed) : twister_(seed) {}

  double normal();

 private:
  double uniform();  // 53 bits, in [0, 1)

  std::mt19937 twister_;
  bool has_second_ = false;  // normal numbers come in pairs
  double second_ = 0;
};

}  // namespace sightline
