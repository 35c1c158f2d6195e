// Segments of one color and regions ranked by density: by hand, by their definition, each image as if alone.
#include "engine/algorithms/felzenszwalb.h"
#include "engine/algorithms/region_ranking.h"
#include "engine/errors.h"
#include "references/sequence.h"
#include "rounding.h"
#include "runner.h"

namespace sightline::test {

namespace {

// Smoothing by so narrow a Gaussian changes nothing.
constexpr double kSharp = 0.05;

at::Tensor plane(std::vector<float> values, int64_t height, int64_t width) {
  return at::tensor(values).view({1, height, width});
}

std::vector<float> values_of(const at::Tensor& x) {
  const auto flat = x.contiguous().view(-1);
  return {flat.const_data_ptr<float>(), flat.const_data_ptr<float>() + flat.numel()};
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const EngineError& error) {
    return error.message();
  }
  return "";
}

// Greedy ranking as it is defined, each mean added up anew.
at::Tensor by_definition(const at::Tensor& attributions, const at::Tensor& segments, const RankingSettings& settings) {
  const auto scales = segments.size(0), height = segments.size(1), width = segments.size(2);
  std::map<int64_t, std::set<int64_t>> regions;
  for (int64_t scale = 0; scale < scales; ++scale) {
    for (int64_t y = 0; y < height; ++y) {
      for (int64_t x = 0; x < width; ++x) {
        auto& region = regions[segments[scale][y][x].item<int64_t>()];
        for (int64_t row = 0; row < height; ++row) {
          for (int64_t column = 0; column < width; ++column) {
            const auto squared = (row - y) * (row - y) + (column - x) * (column - x);
            if (squared <= settings.dilation * settings.dilation) region.insert(row * width + column);
          }
        }
      }
    }
  }
  const auto given = values_of(attributions);
  std::vector<float> map(given.size());
  std::set<int64_t> taken;
  const auto rest_of = [&](const std::set<int64_t>& region) {
    std::vector<int64_t> rest;
    std::set_difference(region.begin(), region.end(), taken.begin(), taken.end(), std::back_inserter(rest));
    return rest;
  };
  const auto mean_of = [&](const std::vector<int64_t>& pixels) {
    double sum = 0;
    for (const auto pixel : pixels) sum += given[static_cast<size_t>(pixel)];
    return sum / static_cast<double>(pixels.size());
  };
  while (static_cast<double>(taken.size()) / static_cast<double>(given.size()) <= settings.area) {
    double gain = -INFINITY;
    std::vector<int64_t> best;
    for (const auto& [label, region] : regions) {
      const auto rest = rest_of(region);
      if (static_cast<int64_t>(rest.size()) < settings.least_added || !(mean_of(rest) > gain)) continue;
      gain = mean_of(rest);
      best = rest;
    }
    if (best.empty()) break;
    for (const auto pixel : best) map[static_cast<size_t>(pixel)] = static_cast<float>(gain);
    taken.insert(best.begin(), best.end());
  }
  std::vector<int64_t> left;
  for (int64_t pixel = 0; pixel < static_cast<int64_t>(given.size()); ++pixel) {
    if (taken.count(pixel) == 0) left.push_back(pixel);
  }
  for (const auto pixel : left) map[static_cast<size_t>(pixel)] = static_cast<float>(mean_of(left));
  return at::tensor(map).view({height, width});
}

}  // namespace

TEST("regions: two colors are two segments, and a pixel of noise joins a neighbor where it is too small") {
  // The second image has a pixel of its own in its left half.
  const auto images = at::stack({plane({0, 0, 1, 1, 0, 0, 1, 1}, 2, 4), plane({0, 9, 1, 1, 0, 0, 1, 1}, 2, 4)});
  const auto fine = felzenszwalb(images, {{1}, kSharp, 1});
  EXPECT_EQUAL(values_of(fine.labels[0]), (std::vector<float>{0, 0, 1, 1, 0, 0, 1, 1}));
  EXPECT_EQUAL(values_of(fine.labels[1]), (std::vector<float>{0, 1, 2, 2, 0, 0, 2, 2}));
  EXPECT_EQUAL(fine.counts[0].item<int64_t>(), 2);
  EXPECT_EQUAL(fine.counts[1].item<int64_t>(), 3);
  // The least difference of the lone pixel is that to the right, 8.
  const auto coarse = felzenszwalb(images, {{1}, kSharp, 2});
  EXPECT_EQUAL(values_of(coarse.labels[1]), (std::vector<float>{0, 1, 1, 1, 0, 0, 1, 1}));
}

TEST("regions: scales are numbered on, and a large one makes one segment") {
  const auto images = at::stack({plane({0, 0, 1, 1, 0, 0, 1, 1}, 2, 4)});
  const auto found = felzenszwalb(images, {{1, 255 * 100}, kSharp, 1});
  EXPECT_EQUAL(values_of(found.labels[0]), (std::vector<float>{0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2}));
  EXPECT_EQUAL(found.counts[0].item<int64_t>(), 3);
}

TEST("regions: a flat image, and lines of one pixel, are one segment") {
  for (const auto& sizes : {std::vector<int64_t>{1, 3, 5, 4}, {1, 3, 1, 7}, {1, 3, 7, 1}, {1, 3, 1, 1}}) {
    const auto found = felzenszwalb(at::full(sizes, 0.25), {{50}, 0.8, 3});
    EXPECT_EQUAL(found.counts[0].item<int64_t>(), 1);
    EXPECT_EQUAL(found.labels.abs().max().item<float>(), 0.0f);
  }
}

TEST("regions: segments and ranks of a batch are those of each image alone") {
  const auto images = sequence({3, 3, 12, 17}, 21);
  const auto attributions = sequence({3, 12, 17}, 22) - 0.5;
  const RankingSettings ranking{2, 3, 0.9, false};
  const auto together = felzenszwalb(images, {{20, 80}, 0.8, 6});
  const auto ranked = rank_regions(attributions, together.labels, ranking);
  for (int64_t i = 0; i < 3; ++i) {
    const auto alone = felzenszwalb(images.narrow(0, i, 1), {{20, 80}, 0.8, 6});
    EXPECT(at::equal(alone.labels[0], together.labels[i]));
    EXPECT_EQUAL(alone.counts[0].item<int64_t>(), together.counts[i].item<int64_t>());
    EXPECT(alone.counts[0].item<int64_t>() > 4, "the segments tell something");
    EXPECT(at::equal(rank_regions(attributions.narrow(0, i, 1), alone.labels, ranking)[0], ranked[i]));
  }
}

TEST("regions: the ranking is that of the definition") {
  const auto segments = felzenszwalb(sequence({1, 3, 12, 17}, 23), {{20, 80, 200}, 0.8, 5}).labels;
  const auto attributions = sequence({1, 12, 17}, 24) - 0.5;
  for (const auto& ranking : {RankingSettings{0, 1, 1, false}, RankingSettings{2, 1, 1, false},
                              RankingSettings{1, 7, 1, false}, RankingSettings{3, 2, 0.4, false}}) {
    const auto found = rank_regions(attributions, segments, ranking)[0];
    const auto expected = by_definition(attributions[0], segments[0], ranking);
    EXPECT(largest_difference(found, expected) <= kRoundoff, largest_difference(found, expected));
  }
}

TEST("regions: the fast ranking takes regions in the order of their own means") {
  // Regions 0 and 1 of the first scale, 2 and 3 of the second: means 1.5, 5, 3 and 4.
  const auto labels = at::tensor(std::vector<float>{0, 0, 1, 1, 2, 2, 2, 3}).view({1, 2, 1, 4});
  const auto attributions = at::tensor(std::vector<float>{1, 2, 6, 4}).view({1, 1, 4});
  EXPECT_EQUAL(values_of(rank_regions(attributions, labels, {0, 1, 1, true})), (std::vector<float>{1.5, 1.5, 5, 5}));
  // After region 1 the regions 0 and 2 have the same two pixels left.
  EXPECT_EQUAL(values_of(rank_regions(attributions, labels, {0, 1, 1, false})), (std::vector<float>{1.5, 1.5, 5, 5}));
  // Only region 2 adds three pixels.
  EXPECT_EQUAL(values_of(rank_regions(attributions, labels, {0, 3, 1, false})), (std::vector<float>{3, 3, 3, 4}));
}

TEST("regions: what is no number is refused, or told") {
  auto images = sequence({1, 3, 4, 4}, 25);
  images[0][1][2][2] = NAN;
  const auto message = message_of([&] { felzenszwalb(images, {{50}, 0.8, 2}); });
  EXPECT(message.find("not finite") != std::string::npos, message);
  const auto labels = at::zeros({1, 1, 2, 2});
  const auto attributions = at::tensor(std::vector<float>{1, NAN, 2, 3}).view({1, 2, 2});
  EXPECT(rank_regions(attributions, labels, {0, 1, 1, false}).isnan().any().item<bool>());
  const auto aborted = message_of([&] { felzenszwalb(at::zeros({1, 3, 4, 4}), {{50}, 0.8, 2}, [] { return true; }); });
  EXPECT(aborted.find("aborted") != std::string::npos, aborted);
}

}  // namespace sightline::test
