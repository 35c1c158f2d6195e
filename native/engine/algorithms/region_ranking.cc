#include "engine/algorithms/region_ranking.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "engine/algorithms/upload.h"
#include "engine/errors.h"

namespace sightline {

namespace {

// Lists of numbers one after the other.
struct Lists {
  std::vector<int64_t> starts{0};
  std::vector<int32_t> numbers;

  const int32_t* begin(int64_t list) const { return numbers.data() + starts[static_cast<size_t>(list)]; }
  const int32_t* end(int64_t list) const { return numbers.data() + starts[static_cast<size_t>(list) + 1]; }
  int64_t size() const { return static_cast<int64_t>(starts.size()) - 1; }
};

// The regions of each pixel: the segments, of each scale, of which some pixel lies within the disk around it.
Lists regions_of_pixels(const float* labels, int64_t scales, int64_t height, int64_t width, int64_t radius) {
  Lists lists;
  lists.starts.reserve(static_cast<size_t>(height * width) + 1);
  std::vector<int64_t> reach(static_cast<size_t>(2 * radius) + 1);
  for (int64_t down = -radius; down <= radius; ++down) {
    auto& across = reach[static_cast<size_t>(down + radius)];
    while ((across + 1) * (across + 1) + down * down <= radius * radius) ++across;
  }
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t scale = 0; scale < scales; ++scale) {
        const auto* plane = labels + scale * height * width;
        const auto known = static_cast<int64_t>(lists.numbers.size());
        int32_t last = -1;
        for (auto row = std::max<int64_t>(0, y - radius); row <= std::min(height - 1, y + radius); ++row) {
          const auto across = reach[static_cast<size_t>(row - y + radius)];
          for (auto column = std::max<int64_t>(0, x - across); column <= std::min(width - 1, x + across); ++column) {
            const auto label = static_cast<int32_t>(plane[row * width + column]);
            if (label == last) continue;
            last = label;
            const auto first = lists.numbers.begin() + known;
            if (std::find(first, lists.numbers.end(), label) == lists.numbers.end()) lists.numbers.push_back(label);
          }
        }
      }
      lists.starts.push_back(static_cast<int64_t>(lists.numbers.size()));
    }
  }
  return lists;
}

// The pixels of each region, row by row.
Lists pixels_of_regions(const Lists& regions, int64_t count) {
  Lists lists;
  lists.starts.assign(static_cast<size_t>(count) + 1, 0);
  for (const auto region : regions.numbers) ++lists.starts[static_cast<size_t>(region) + 1];
  std::partial_sum(lists.starts.begin(), lists.starts.end(), lists.starts.begin());
  lists.numbers.resize(regions.numbers.size());
  auto next = lists.starts;
  for (int64_t pixel = 0; pixel < regions.size(); ++pixel) {
    for (const auto* region = regions.begin(pixel); region != regions.end(pixel); ++region) {
      lists.numbers[static_cast<size_t>(next[static_cast<size_t>(*region)]++)] = static_cast<int32_t>(pixel);
    }
  }
  return lists;
}

// One image: what each pixel is attributed, and how much of the image is taken.
class Ranking {
 public:
  Ranking(const float* attributions, float* map, const Lists& regions, const Lists& pixels)
      : attributions_(attributions),
        map_(map),
        regions_(regions),
        pixels_(pixels),
        is_taken_(static_cast<size_t>(regions.size()), false),
        open_(static_cast<size_t>(pixels.size()), 0),
        sums_(static_cast<size_t>(pixels.size()), 0) {
    for (int64_t region = 0; region < pixels.size(); ++region) {
      const auto at = static_cast<size_t>(region);
      open_[at] = pixels.end(region) - pixels.begin(region);
      for (const auto* pixel = pixels.begin(region); pixel != pixels.end(region); ++pixel) {
        sums_[at] += attributions[*pixel];
      }
    }
  }

  int64_t regions() const { return pixels_.size(); }
  int64_t open(int64_t region) const { return open_[static_cast<size_t>(region)]; }
  double mean(int64_t region) const { return sums_[static_cast<size_t>(region)] / static_cast<double>(open(region)); }
  double share() const { return static_cast<double>(taken_) / static_cast<double>(regions_.size()); }

  void take(int64_t region) {
    // Added up anew: the running sums carry what was rounded on the way.
    double sum = 0;
    const auto count = open(region);
    std::vector<int32_t> added;
    added.reserve(static_cast<size_t>(count));
    for (const auto* pixel = pixels_.begin(region); pixel != pixels_.end(region); ++pixel) {
      if (is_taken_[static_cast<size_t>(*pixel)]) continue;
      added.push_back(*pixel);
      sum += attributions_[*pixel];
    }
    const auto mean = static_cast<float>(sum / static_cast<double>(count));
    for (const auto pixel : added) {
      map_[pixel] = mean;
      is_taken_[static_cast<size_t>(pixel)] = true;
      for (const auto* other = regions_.begin(pixel); other != regions_.end(pixel); ++other) {
        --open_[static_cast<size_t>(*other)];
        sums_[static_cast<size_t>(*other)] -= attributions_[pixel];
      }
    }
    taken_ += count;
  }

  void fill_the_rest() {
    if (taken_ == regions_.size()) return;
    double sum = 0;
    for (size_t pixel = 0; pixel < is_taken_.size(); ++pixel) sum += is_taken_[pixel] ? 0 : attributions_[pixel];
    const auto mean = static_cast<float>(sum / static_cast<double>(regions_.size() - taken_));
    for (size_t pixel = 0; pixel < is_taken_.size(); ++pixel) {
      if (!is_taken_[pixel]) map_[pixel] = mean;
    }
  }

 private:
  const float* attributions_;
  float* map_;
  const Lists& regions_;
  const Lists& pixels_;
  std::vector<bool> is_taken_;
  std::vector<int64_t> open_;  // by region: its pixels that are not taken
  std::vector<double> sums_;   // by region: what they are attributed
  int64_t taken_ = 0;
};

void take_by_what_is_left(Ranking& ranking, const RankingSettings& settings, const std::function<bool()>& cancelled) {
  std::vector<int64_t> left(static_cast<size_t>(ranking.regions()));
  std::iota(left.begin(), left.end(), 0);
  while (ranking.share() <= settings.area) {
    if (cancelled && cancelled()) throw EngineError("ABORTED", "The request was aborted.");
    left.erase(std::remove_if(left.begin(), left.end(),
                              [&](int64_t region) { return ranking.open(region) < settings.least_added; }),
               left.end());
    auto best = left.end();
    auto gain = -std::numeric_limits<double>::infinity();
    for (auto region = left.begin(); region != left.end(); ++region) {
      const auto mean = ranking.mean(*region);
      if (mean > gain) {
        gain = mean;
        best = region;
      }
    }
    if (best == left.end()) return;
    ranking.take(*best);
    left.erase(best);
  }
}

void take_by_the_whole(Ranking& ranking, const RankingSettings& settings) {
  std::vector<double> means(static_cast<size_t>(ranking.regions()));
  std::vector<int64_t> order(means.size());
  std::iota(order.begin(), order.end(), 0);
  for (const auto region : order) means[static_cast<size_t>(region)] = ranking.mean(region);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return means[static_cast<size_t>(a)] > means[static_cast<size_t>(b)]; });
  for (const auto region : order) {
    if (ranking.open(region) >= settings.least_added) ranking.take(region);
  }
}

}  // namespace

at::Tensor rank_regions(const at::Tensor& attributions, const at::Tensor& segments, const RankingSettings& settings,
                        const std::function<bool()>& cancelled) {
  const auto batch = segments.size(0), scales = segments.size(1), height = segments.size(2), width = segments.size(3);
  const auto pixels = height * width;
  const auto values = attributions.detach().cpu().to(at::kFloat).contiguous();
  const auto labels = segments.detach().cpu().to(at::kFloat).contiguous();
  auto map = at::empty({batch, height, width}, at::kFloat);
  for (int64_t image = 0; image < batch; ++image) {
    const auto* of_image = labels.const_data_ptr<float>() + image * scales * pixels;
    const auto regions = regions_of_pixels(of_image, scales, height, width, settings.dilation);
    const auto count = static_cast<int64_t>(*std::max_element(of_image, of_image + scales * pixels)) + 1;
    const auto members = pixels_of_regions(regions, count);
    const auto* attributed = values.const_data_ptr<float>() + image * pixels;
    auto* out = map.mutable_data_ptr<float>() + image * pixels;
    // No order is known of what is no number: the map is what it was made of, and tells so.
    if (!std::all_of(attributed, attributed + pixels, [](float value) { return std::isfinite(value); })) {
      std::copy(attributed, attributed + pixels, out);
      continue;
    }
    Ranking ranking(attributed, out, regions, members);
    if (settings.is_fast) {
      take_by_the_whole(ranking, settings);
    } else {
      take_by_what_is_left(ranking, settings, cancelled);
    }
    ranking.fill_the_rest();
  }
  return upload(map, attributions.device());
}

}  // namespace sightline
