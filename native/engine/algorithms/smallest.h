// The smallest values of a row, without sorting it.
#pragma once

#include <cstdint>
#include <vector>

namespace sightline {

// The `count`th smallest of `length` values, 1 <= count <= length, none of which is NaN. `scratch` is for the next call.
float nth_smallest(const float* values, int64_t length, int64_t count, std::vector<float>& scratch);

}  // namespace sightline
