#include "engine/algorithms/smallest.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace sightline {

namespace {

// Sign, exponent and three bits of the mantissa: values of one bin differ by an eighth at most.
constexpr int kLeadingBits = 12;

// In the order of the values: of positive ones the sign is set, of negative ones all bits are turned. -0 counts as 0.
uint32_t ordered_bits(float value) {
  value += 0.0F;
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

uint32_t bin_of(float value) { return ordered_bits(value) >> (32 - kLeadingBits); }

}  // namespace

float nth_smallest(const float* values, int64_t length, int64_t count, std::vector<float>& scratch) {
  std::array<int64_t, size_t{1} << kLeadingBits> bins{};
  for (int64_t i = 0; i < length; ++i) ++bins[bin_of(values[i])];
  uint32_t bin = 0;
  while (count > bins[bin]) count -= bins[bin++];
  // Selection itself, whose comparisons no processor predicts, is left with the one bin.
  scratch.clear();
  for (int64_t i = 0; i < length; ++i) {
    if (bin_of(values[i]) == bin) scratch.push_back(values[i]);
  }
  const auto sought = scratch.begin() + (count - 1);
  std::nth_element(scratch.begin(), sought, scratch.end());
  return *sought;
}

}  // namespace sightline
