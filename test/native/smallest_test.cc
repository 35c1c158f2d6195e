#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "engine/algorithms/smallest.h"
#include "runner.h"

namespace sightline::test {

namespace {

// For each count, what sorting gives.
void expect_sorted(const std::vector<float>& values) {
  auto sorted = values;
  std::sort(sorted.begin(), sorted.end());
  std::vector<float> scratch;
  const auto length = static_cast<int64_t>(values.size());
  for (int64_t count = 1; count <= length; ++count) {
    const float found = nth_smallest(values.data(), length, count, scratch);
    EXPECT(found == sorted[static_cast<size_t>(count - 1)], "number ", count, " of ", length, " is ", found);
  }
}

}  // namespace

TEST("smallest: each of some values is the one that sorting puts in its place") {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (const size_t length : {1, 2, 3, 197}) {
    std::vector<float> values(length);
    for (auto& value : values) value = normal(random);
    expect_sorted(values);
    for (auto& value : values) value = std::exp(3 * value);
    expect_sorted(values);
    for (auto& value : values) value = std::round(2 * std::log(value)) / 8;
    expect_sorted(values);
  }
}

TEST("smallest: zeros of both signs, infinities and denormal values have their places") {
  const float infinity = std::numeric_limits<float>::infinity(), least = std::numeric_limits<float>::denorm_min();
  const float largest = std::numeric_limits<float>::max();
  expect_sorted({0.0F, -0.0F, least, -least, infinity, -infinity, largest, -largest, 1.0F, -1.0F, 0.0F, infinity});
  // A zero is found where its sign sorts apart from its equal.
  expect_sorted({-0.0F, 0.0F, -0.0F, 0.0F, 1.0F});
}

}  // namespace sightline::test
