// First components: numpy's and scikit-learn's numbers, the sign, constant images, each image as if alone.
#include "engine/algorithms/components.h"

#include "engine/errors.h"
#include "references/components.h"
#include "references/sequence.h"
#include "rounding.h"
#include "runner.h"

namespace sightline::test {

namespace {

// Components are found in float64; both numbers compared are then rounded to float32.
constexpr double kRounded = 2 * kRoundoff;

double largest(const at::Tensor& x) { return x.abs().max().item<double>(); }

void expect_close(const at::Tensor& found, const std::vector<float>& expected) {
  const auto wanted = tensor_of(expected, found.sizes().vec());
  EXPECT_EQUAL(found.scalar_type(), at::kFloat);
  const auto difference = largest_difference(found, wanted) / wanted.abs().max().item<double>();
  EXPECT(difference <= kRounded, "relative difference ", difference);
}

}  // namespace

TEST("components: the principal component equals numpy's full decomposition") {
  expect_close(principal_component(sequence({2, 5, 4, 6}, 1)), kPrincipalOfManyPositions);
  expect_close(principal_component(sequence({2, 40, 3, 4}, 2) * 4 - 2), kPrincipalOfManyChannels);
}

TEST("components: the kernel component equals scikit-learn's") {
  expect_close(kernel_component(sequence({2, 5, 4, 6}, 1)), kKernelOfManyPositions);
  expect_close(kernel_component(sequence({2, 40, 3, 4}, 2) * 4 - 2), kKernelOfManyChannels);
  expect_close(kernel_component(sequence({1, 8, 17, 18}, 3) * 6 - 2), kKernelOfLarge);
}

TEST("components: the strongest position is positive, whatever the features' sign") {
  for (const auto& function : {&principal_component, &kernel_component}) {
    const auto x = sequence({3, 6, 5, 5}, 20);
    const auto map = function(x), opposite = function(-x);
    EXPECT((map.flatten(1).amax(1) >= -map.flatten(1).amin(1)).all().item<bool>());
    EXPECT(largest_difference(map, opposite) <= kRounded * largest(map), largest_difference(map, opposite));
  }
}

TEST("components: features that vary in one direction only give that direction back") {
  // Channel c of position p is direction[c] * strength[p]: the scores are the centred strengths times |direction|.
  const auto direction = sequence({1, 20, 1, 1}, 21).to(at::kDouble) - 0.5;
  const auto strength = sequence({1, 1, 18, 18}, 22).to(at::kDouble);
  const auto centred = (strength - strength.mean())[0] * direction.norm();
  const auto expected = at::where(centred.min().abs() > centred.max().abs(), -centred, centred);
  const auto map = principal_component(direction * strength);
  EXPECT(largest_difference(map, expected) <= kRoundoff * largest(expected), largest_difference(map, expected));
  const auto kernel = kernel_component(direction * strength);
  const auto order = [](const at::Tensor& x) { return x.flatten().argsort(); };
  EXPECT(at::equal(order(kernel), order(map)) || at::equal(order(kernel), order(-map)), "not monotonous");
}

TEST("components: constant channels give zeros to the bit") {
  for (const auto& function : {&principal_component, &kernel_component}) {
    for (const std::vector<int64_t>& sizes :
         {std::vector<int64_t>{1, 4, 6, 6}, {2, 30, 2, 3}, {1, 3, 18, 18}, {1, 3, 1, 1}}) {
      const auto constant = (sequence({sizes[0], sizes[1], 1, 1}, 23) * 1000).expand(sizes);
      EXPECT_EQUAL(function(constant).abs().max().item<float>(), 0.0f, sizes);
      EXPECT_EQUAL(function(at::zeros(sizes)).abs().max().item<float>(), 0.0f, sizes);
    }
  }
}

TEST("components: each image as if alone, and the same every time") {
  for (const auto& function : {&principal_component, &kernel_component}) {
    for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{3, 4, 6, 6}, {3, 30, 3, 3}, {2, 4, 17, 18}}) {
      const auto x = sequence(sizes, 24);
      const auto together = function(x);
      EXPECT(at::equal(together, function(x)));
      for (int64_t i = 0; i < sizes[0]; ++i) {
        const auto alone = function(x.narrow(0, i, 1))[0];
        EXPECT(largest_difference(together[i], alone) <= kRounded * largest(alone),
               largest_difference(together[i], alone));
      }
    }
  }
}

TEST("components: values that are not finite are refused") {
  for (const auto& function : {&principal_component, &kernel_component}) {
    auto x = sequence({2, 3, 4, 4}, 25);
    x[1][2][3][3] = NAN;
    std::string message;
    try {
      function(x);
    } catch (const EngineError& error) {
      message = error.message();
    }
    EXPECT(message.find("not finite") != std::string::npos, message);
  }
}

}  // namespace sightline::test
