// Filled-in pixels: each is the mean of its neighbors, those that stay are as they were.
#include <ATen/ops/rand.h>

#include "engine/algorithms/linear_imputation.h"
#include "engine/errors.h"
#include "references/sequence.h"
#include "rounding.h"
#include "runner.h"

namespace sightline::test {

namespace {

// The neighbors' weights, and what each pixel lacks of the mean of those that lie inside of the image. In float64.
double farthest_from_mean(const at::Tensor& filled, const at::Tensor& removed) {
  const auto images = filled.to(at::kDouble).contiguous();
  const auto height = images.size(2), width = images.size(3);
  double farthest = 0;
  for (int64_t i = 0; i < images.size(0); ++i) {
    for (int64_t row = 0; row < height; ++row) {
      for (int64_t column = 0; column < width; ++column) {
        if (removed[i][row][column].item<float>() == 0) continue;
        for (int64_t channel = 0; channel < images.size(1); ++channel) {
          double sum = 0, weights = 0;
          for (int64_t down = -1; down <= 1; ++down) {
            for (int64_t across = -1; across <= 1; ++across) {
              const auto r = row + down, c = column + across;
              if ((down == 0 && across == 0) || r < 0 || c < 0 || r >= height || c >= width) continue;
              const double weight = down == 0 || across == 0 ? 1.0 / 6 : 1.0 / 12;
              sum += weight * images[i][channel][r][c].item<double>();
              weights += weight;
            }
          }
          farthest = std::max(farthest, std::abs(sum / weights - images[i][channel][row][column].item<double>()));
        }
      }
    }
  }
  return farthest;
}

at::Tensor pixels(const std::vector<int64_t>& sizes) { return sequence(sizes, 7) * 2 - 1; }

}  // namespace

TEST("imputation: each removed pixel is the mean of its neighbors, the others stay") {
  const auto images = pixels({2, 3, 13, 18});
  // Scattered pixels of one image, all but a corner of the other.
  auto removed = (sequence({2, 13, 18}, 5) > 0.4).to(at::kFloat);
  removed[1].fill_(1);
  removed[1].narrow(0, 0, 2).narrow(1, 0, 3).fill_(0);
  const auto filled = linear_imputation(images, removed);
  const auto stays = removed.unsqueeze(1) == 0;
  EXPECT(filled.masked_select(stays).equal(images.masked_select(stays)));
  // The residual's bound, of values of at most 1 whose sums of weights are at least 5 / 12.
  EXPECT(farthest_from_mean(filled, removed) < 1e-4, farthest_from_mean(filled, removed));
}

TEST("imputation: a constant comes back, and an image of which nothing was removed") {
  const auto constant = at::full({1, 1, 9, 9}, 0.5);
  auto removed = at::ones({1, 9, 9});
  removed[0][4][4] = 0;
  EXPECT((linear_imputation(constant, removed) - 0.5).abs().max().item<double>() < 1e-4);
  const auto images = pixels({1, 3, 9, 9});
  EXPECT(linear_imputation(images, at::zeros({1, 9, 9})).equal(images));
}

TEST("imputation: each image as if alone") {
  const auto images = pixels({2, 3, 16, 16});
  auto removed = (sequence({2, 16, 16}, 3) > 0.3).to(at::kFloat);
  // One takes few rounds, the other many.
  removed[1].fill_(1);
  removed[1][2][3].fill_(0);
  const auto both = linear_imputation(images, removed);
  for (int64_t i = 0; i < 2; ++i) {
    const auto alone = linear_imputation(images.narrow(0, i, 1), removed.narrow(0, i, 1));
    // To rounding, since sums of more planes may be taken in another order.
    EXPECT((alone - both.narrow(0, i, 1)).abs().max().item<double>() < 1e-5);
  }
}

TEST("imputation: a cancelled request ends") {
  const auto images = pixels({1, 3, 16, 16});
  auto removed = at::ones({1, 16, 16});
  removed[0][0][0] = 0;
  std::string code;
  try {
    linear_imputation(images, removed, [] { return true; });
  } catch (const EngineError& error) {
    code = error.code();
  }
  EXPECT_EQUAL(code, std::string("ABORTED"));
}

}  // namespace sightline::test
