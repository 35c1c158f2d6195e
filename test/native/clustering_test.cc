// Clusters of masks: scikit-learn's partition and numbers, sums, zero masks, each image as if alone.
#include "engine/algorithms/cluster_masks.h"

#include "engine/algorithms/agglomeration.h"
#include "engine/errors.h"
#include "references/clustering.h"
#include "references/sequence.h"
#include "rounding.h"
#include "runner.h"

namespace sightline::test {

namespace {

// As in references/make.py: noisy copies of few shapes.
at::Tensor masks_of(uint32_t seed, int64_t count, int64_t groups) {
  auto shapes = sequence({groups, 6, 7}, seed);
  shapes = shapes * shapes * shapes;
  const auto noise = sequence({count, 6, 7}, seed + 1000);
  std::vector<at::Tensor> masks;
  for (int64_t i = 0; i < count; ++i) masks.push_back(shapes[(i * i) % groups] + noise[i] * 0.125);
  return at::stack(masks).unsqueeze(0);
}

// Sums of one mask after the other are rounded once a mask, either way of two, of no more than the sum of all.
double rounding_of(const at::Tensor& masks) {
  return 2 * static_cast<double>(masks.size(1)) * kRoundoff * masks.sum(1).max().item<double>();
}

void expect_labels(const at::Tensor& masks, double threshold, const std::vector<int64_t>& labels) {
  const auto found = cluster_masks(masks, threshold);
  auto sums = at::zeros_like(masks);
  int64_t count = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    sums[0][labels[i]] += masks[0][static_cast<int64_t>(i)];
    count = std::max(count, labels[i] + 1);
  }
  EXPECT_EQUAL(found.count[0].item<int64_t>(), count);
  EXPECT_EQUAL(found.sums.sizes(), masks.sizes());
  EXPECT(largest_difference(found.sums, sums) <= rounding_of(masks), largest_difference(found.sums, sums));
}

// Complete linkage as it is defined: the nearest pair of clusters, over and over.
std::vector<std::set<int64_t>> by_definition(const std::vector<double>& distances, int64_t count, double threshold) {
  std::vector<std::set<int64_t>> clusters;
  for (int64_t i = 0; i < count; ++i) clusters.push_back({i});
  while (clusters.size() > 1) {
    double least = INFINITY;
    size_t first = 0, second = 0;
    for (size_t a = 0; a < clusters.size(); ++a) {
      for (size_t b = a + 1; b < clusters.size(); ++b) {
        double farthest = 0;
        for (const auto i : clusters[a]) {
          for (const auto j : clusters[b]) farthest = std::max(farthest, distances[i * count + j]);
        }
        if (farthest < least) least = farthest, first = a, second = b;
      }
    }
    if (!(least < threshold)) break;
    clusters[first].insert(clusters[second].begin(), clusters[second].end());
    clusters.erase(clusters.begin() + static_cast<std::ptrdiff_t>(second));
  }
  std::sort(clusters.begin(), clusters.end());
  return clusters;
}

}  // namespace

TEST("clustering: partition and numbers equal scikit-learn's") {
  expect_labels(masks_of(11, 30, 7), 0.02, kLabelsOfTight);
  expect_labels(masks_of(12, 40, 10), 0.1, kLabelsOfLoose);
  expect_labels(masks_of(13, 12, 3), 0.9, kLabelsOfOne);
  expect_labels(sequence({60, 42}, 16).view({1, 60, 6, 7}), 0.25, kLabelsOfRandom);
}

TEST("clustering: chains of nearest neighbours find what the definition finds, at any threshold") {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const int64_t count = 2 + seed;
    const auto half = sequence({count, count}, 100 + seed).to(at::kDouble);
    const auto symmetric = (half.triu(1) + half.triu(1).t()).contiguous();
    const std::vector<double> distances(symmetric.data_ptr<double>(), symmetric.data_ptr<double>() + count * count);
    for (const double threshold : {0.0, 0.2, 0.5, 0.8, 2.0}) {
      const auto labels = complete_linkage(distances, count, threshold);
      std::map<int64_t, std::set<int64_t>> members;
      for (int64_t i = 0; i < count; ++i) members[labels[i]].insert(i);
      std::vector<std::set<int64_t>> found;
      int64_t expected_label = 0;
      for (const auto& [label, items] : members) {
        EXPECT_EQUAL(label, expected_label++, "numbers have a gap");
        found.push_back(items);
      }
      std::sort(found.begin(), found.end());
      EXPECT(found == by_definition(distances, count, threshold), "seed ", seed, ", threshold ", threshold);
    }
  }
}

TEST("clustering: sums of all clusters add up to the sum of the masks, with zeros behind the last") {
  const auto masks = at::cat({masks_of(11, 30, 7), masks_of(12, 30, 10), sequence({1, 30, 6, 7}, 17)});
  const auto found = cluster_masks(masks, 0.1);
  EXPECT(largest_difference(found.sums.sum(1), masks.sum(1)) <= rounding_of(masks));
  EXPECT_EQUAL(found.count.sizes(), (std::vector<int64_t>{3}));
  for (int64_t i = 0; i < 3; ++i) {
    const auto count = found.count[i].item<int64_t>();
    EXPECT(count > 1 && count <= 30);
    if (count < 30) EXPECT_EQUAL(found.sums[i].narrow(0, count, 30 - count).abs().max().item<float>(), 0.0f);
    EXPECT((found.sums[i].narrow(0, 0, count).flatten(1).amax(1) > 0).all().item<bool>());
    const auto alone = cluster_masks(masks.narrow(0, i, 1), 0.1);
    EXPECT_EQUAL(alone.count[0].item<int64_t>(), count);
    EXPECT(largest_difference(alone.sums[0], found.sums[i]) <= rounding_of(masks));
  }
}

TEST("clustering: one mask, equal masks and masks of zeros") {
  const auto mask = sequence({1, 1, 4, 4}, 18);
  EXPECT_EQUAL(cluster_masks(mask, 0.1).count[0].item<int64_t>(), 1);
  EXPECT(at::equal(cluster_masks(mask, 0.1).sums, mask));
  EXPECT_EQUAL(cluster_masks(mask.expand({1, 5, 4, 4}), 0.1).count[0].item<int64_t>(), 1);
  EXPECT_EQUAL(cluster_masks(at::zeros({1, 3, 4, 4}), 0.1).count[0].item<int64_t>(), 3);
  const auto mixed = at::cat({mask, at::zeros({1, 1, 4, 4}), mask * 7}, 1);
  const auto found = cluster_masks(mixed, 0.1);
  EXPECT_EQUAL(found.count[0].item<int64_t>(), 2);
  EXPECT(at::isfinite(found.sums).all().item<bool>());
}

TEST("clustering: masks that are not finite are refused") {
  auto masks = sequence({1, 3, 2, 2}, 19);
  masks[0][1][0][0] = INFINITY;
  std::string message;
  try {
    cluster_masks(masks, 0.1);
  } catch (const EngineError& error) {
    message = error.message();
  }
  EXPECT(message.find("not finite") != std::string::npos, message);
}

}  // namespace sightline::test
