// Non-negative factors: numpy's random numbers, scikit-learn's factors, zeros, each image as if alone.
#include "engine/algorithms/non_negative_factors.h"

#include "engine/algorithms/legacy_random.h"
#include "engine/errors.h"
#include "references/factorisation.h"
#include "references/sequence.h"
#include "rounding.h"
#include "runner.h"

namespace sightline::test {

namespace {

at::Tensor features_of(const std::vector<int64_t>& sizes, uint32_t seed) {
  const auto x = sequence(sizes, seed);
  return (x * x).unsqueeze(0);
}

void expect_factors(const at::Tensor& x, int64_t components, const std::vector<float>& vectors,
                    const std::vector<float>& maps) {
  const auto found = non_negative_factors(x, components);
  const auto vector_difference = largest_difference(found.vectors, tensor_of(vectors, {1, components, x.size(1)}));
  const auto map_difference = largest_difference(found.maps, tensor_of(maps, {1, components, x.size(2), x.size(3)}));
  // Both run in float64 from one start, and are rounded to float32 at the end.
  EXPECT(vector_difference <= 2 * kRoundoff * found.vectors.max().item<double>(), vector_difference);
  EXPECT(map_difference <= 2 * kRoundoff * found.maps.max().item<double>(), map_difference);
}

}  // namespace

TEST("factorisation: normal numbers equal numpy's old stream") {
  LegacyRandom zero(0);
  for (const float expected : kFirstNormals) EXPECT_EQUAL(static_cast<float>(zero.normal()), expected);
  LegacyRandom other(42);
  for (int i = 0; i < 990; ++i) other.normal();
  for (const float expected : kNormalsOf42) EXPECT_EQUAL(static_cast<float>(other.normal()), expected);
}

TEST("factorisation: factors equal scikit-learn's") {
  expect_factors(features_of({12, 4, 5}, 14), 3, kVectorsOfSmall, kMapsOfSmall);
  expect_factors(features_of({30, 3, 3}, 15), 5, kVectorsOfWide, kMapsOfWide);
}

TEST("factorisation: features of one concept come back from it") {
  const auto vector = sequence({1, 8, 1, 1}, 40), map = sequence({1, 1, 5, 5}, 41);
  const auto found = non_negative_factors(vector * map, 1);
  const auto product = found.vectors[0][0].view({8, 1, 1}) * found.maps[0][0];
  // Rounded are the features, both factors and both products, all of values below 1.
  EXPECT(largest_difference(product, (vector * map)[0]) <= 5 * kRoundoff);
}

TEST("factorisation: zeros give zeros") {
  const auto found = non_negative_factors(at::zeros({2, 6, 3, 3}), 4);
  EXPECT_EQUAL(found.vectors.sizes(), (std::vector<int64_t>{2, 4, 6}));
  EXPECT_EQUAL(found.maps.sizes(), (std::vector<int64_t>{2, 4, 3, 3}));
  EXPECT_EQUAL(found.vectors.abs().max().item<float>(), 0.0f);
  EXPECT_EQUAL(found.maps.abs().max().item<float>(), 0.0f);
}

TEST("factorisation: nothing negative, nothing NaN, also where a channel or a position is zero") {
  auto x = features_of({10, 4, 4}, 42);
  x[0][3].zero_();
  x.select(2, 1).zero_();
  const auto found = non_negative_factors(x, 6);
  EXPECT(at::isfinite(found.vectors).all().item<bool>() && at::isfinite(found.maps).all().item<bool>());
  EXPECT(found.vectors.min().item<float>() >= 0 && found.maps.min().item<float>() >= 0);
  const auto rebuilt = at::einsum("kc,khw->chw", {found.vectors[0], found.maps[0]});
  EXPECT((rebuilt - x[0]).norm().item<double>() < 0.5 * x.norm().item<double>());
}

TEST("factorisation: each image as if alone") {
  const auto x = at::cat({features_of({9, 4, 4}, 43), features_of({9, 4, 4}, 44) * 50});
  const auto together = non_negative_factors(x, 3);
  for (int64_t i = 0; i < 2; ++i) {
    const auto alone = non_negative_factors(x.narrow(0, i, 1), 3);
    EXPECT(at::equal(alone.vectors[0], together.vectors[i]));
    EXPECT(at::equal(alone.maps[0], together.maps[i]));
  }
}

TEST("factorisation: negative features are refused, and a cancelled request ends") {
  std::string message, code;
  try {
    non_negative_factors(at::full({1, 2, 2, 2}, -0.5), 1);
  } catch (const EngineError& error) {
    message = error.message();
  }
  EXPECT(message.find("negative") != std::string::npos, message);
  int asked = 0;
  try {
    non_negative_factors(features_of({30, 6, 6}, 45), 5, [&] { return ++asked == 3; });
  } catch (const EngineError& error) {
    code = error.code();
  }
  EXPECT_EQUAL(code, "ABORTED");
  EXPECT_EQUAL(asked, 3);
}

}  // namespace sightline::test
