#include "engine/algorithms/coalitions.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/rand.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "engine/errors.h"

namespace sightline {

namespace {

// 2 to the power of more is more than all samples that can be asked for.
constexpr int64_t kMostEnumerated = 30;

// What k of n segments weigh together, whichever they are.
double weight_of_size(int64_t size, int64_t count) {
  return static_cast<double>(count - 1) / static_cast<double>(size * (count - size));
}

Coalition enumerated(int64_t count, int64_t number) {
  Coalition coalition;
  int64_t size = 0;
  double ways = 1;
  for (int64_t segment = 0; segment < count; ++segment) {
    const bool is_shown = ((number >> segment) & 1) != 0;
    coalition.shows.push_back(is_shown);
    // The number of coalitions of the same size, one factor for each segment that is shown.
    if (is_shown) {
      ++size;
      ways *= static_cast<double>(count - size + 1) / static_cast<double>(size);
    }
  }
  coalition.weight = weight_of_size(size, count) / ways;
  return coalition;
}

int64_t drawn_size(int64_t count, double draw) {
  double total = 0;
  for (int64_t size = 1; size < count; ++size) total += weight_of_size(size, count);
  double below = 0;
  for (int64_t size = 1; size < count; ++size) {
    below += weight_of_size(size, count);
    if (draw * total < below) return size;
  }
  return count - 1;
}

}  // namespace

Coalition coalition_of(int64_t count, int64_t sample, const CoalitionSettings& settings) {
  const auto segments = static_cast<size_t>(count);
  if (settings.sampling == Sampling::Kernel) {
    const auto all = count <= kMostEnumerated ? (int64_t{1} << count) - 2 : -1;
    if (all >= 0 && all <= settings.samples) {
      return sample < all ? enumerated(count, sample + 1) : Coalition{std::vector<bool>(segments, false), 0};
    }
    if (settings.samples < count) {
      throw EngineError("INVALID_INPUT",
                        "The image falls into " + std::to_string(count) + " segments, which " +
                            std::to_string(settings.samples) +
                            " samples cannot tell apart; ask for as many samples, or for larger segments.");
    }
  }
  if (settings.sampling == Sampling::HalfAndWhole && sample == 0) return {std::vector<bool>(segments, true), 1};
  const auto generator =
      at::make_generator<at::CPUGeneratorImpl>(settings.seed * 1000003ULL + static_cast<uint64_t>(sample));
  const auto draws = at::rand({count + 1}, generator, at::kFloat);
  const auto* of_segments = draws.const_data_ptr<float>() + 1;
  Coalition coalition{std::vector<bool>(segments, false), 1};
  if (settings.sampling != Sampling::Kernel) {
    for (size_t segment = 0; segment < segments; ++segment) coalition.shows[segment] = of_segments[segment] < 0.5F;
    return coalition;
  }
  std::vector<int64_t> order(segments);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return of_segments[a] < of_segments[b]; });
  const auto size = drawn_size(count, static_cast<double>(of_segments[-1]));
  for (int64_t i = 0; i < size; ++i) coalition.shows[static_cast<size_t>(order[static_cast<size_t>(i)])] = true;
  return coalition;
}

}  // namespace sightline
