// Coalitions of segments and the additive models of their scores: counted, by hand and by their definition.
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "engine/algorithms/additive_model.h"
#include "engine/algorithms/coalitions.h"
#include "engine/errors.h"
#include "references/sequence.h"
#include "rounding.h"
#include "runner.h"

namespace sightline::test {

namespace {

int64_t size_of(const Coalition& coalition) { return std::count(coalition.shows.begin(), coalition.shows.end(), true); }

Observed observe(int64_t count, const CoalitionSettings& settings,
                 const std::function<double(const std::vector<bool>&)>& score) {
  std::vector<double> scores, weights;
  for (int64_t sample = 0; sample < settings.samples; ++sample) {
    const auto coalition = coalition_of(count, sample, settings);
    scores.push_back(coalition.weight > 0 ? score(coalition.shows) : 0);
    weights.push_back(coalition.weight);
  }
  const auto segments = static_cast<size_t>(count);
  return {at::tensor(scores, at::kDouble), at::tensor(weights, at::kDouble), score(std::vector<bool>(segments, true)),
          score(std::vector<bool>(segments, false))};
}

// Sums of rounded numbers, in double.
constexpr double kDoubleRounding = 1e-10;

std::string message_of_error(const std::function<void()>& call) {
  try {
    call();
  } catch (const EngineError& error) {
    return error.message();
  }
  return "";
}

}  // namespace

TEST("additive: all coalitions in turn, each once, with the kernel's weights") {
  const CoalitionSettings settings{Sampling::Kernel, 20, 0};
  std::set<std::vector<bool>> seen;
  for (int64_t sample = 0; sample < 14; ++sample) {
    const auto coalition = coalition_of(4, sample, settings);
    seen.insert(coalition.shows);
    // 3 / (ways * k * (4 - k)): 4 ways to choose 1 or 3, 6 to choose 2.
    const auto size = size_of(coalition);
    EXPECT(size > 0 && size < 4);
    EXPECT(std::abs(coalition.weight - (size == 2 ? 3.0 / (6 * 4) : 3.0 / (4 * 3))) < 1e-15, coalition.weight);
  }
  EXPECT_EQUAL(seen.size(), size_t{14});
  for (int64_t sample = 14; sample < 20; ++sample) EXPECT_EQUAL(coalition_of(4, sample, settings).weight, 0.0);
  EXPECT_EQUAL(coalition_of(1, 0, settings).weight, 0.0);
}

TEST("additive: drawn coalitions have the kernel's sizes, and depend on seed and sample alone") {
  const CoalitionSettings settings{Sampling::Kernel, 20'000, 5};
  constexpr int64_t kCount = 16;
  std::vector<double> sizes(kCount, 0), shown(kCount, 0);
  for (int64_t sample = 0; sample < settings.samples; ++sample) {
    const auto coalition = coalition_of(kCount, sample, settings);
    EXPECT_EQUAL(coalition.weight, 1.0);
    sizes.at(static_cast<size_t>(size_of(coalition))) += 1;
    for (size_t i = 0; i < kCount; ++i) shown[i] += coalition.shows[i] ? 1 : 0;
  }
  double total = 0;
  for (int64_t size = 1; size < kCount; ++size) total += 1.0 / static_cast<double>(size * (kCount - size));
  EXPECT_EQUAL(sizes[0], 0.0);
  const auto samples = static_cast<double>(settings.samples);
  for (int64_t size = 1; size < kCount; ++size) {
    const auto share = 1.0 / static_cast<double>(size * (kCount - size)) / total;
    const auto deviation = std::sqrt(share * (1 - share) / samples);
    EXPECT(std::abs(sizes[static_cast<size_t>(size)] / samples - share) < 5 * deviation, "size ", size);
    // By symmetry half of the segments are shown.
    EXPECT(std::abs(shown[static_cast<size_t>(size)] / samples - 0.5) < 5 * 0.5 / std::sqrt(samples));
  }
  CoalitionSettings other = settings;
  EXPECT(coalition_of(kCount, 7, settings).shows == coalition_of(kCount, 7, other).shows);
  other.seed = 6;
  EXPECT(coalition_of(kCount, 7, settings).shows != coalition_of(kCount, 7, other).shows);
}

TEST("additive: coins, and the whole image first") {
  EXPECT_EQUAL(size_of(coalition_of(9, 0, {Sampling::HalfAndWhole, 10, 0})), int64_t{9});
  int64_t shown = 0;
  for (int64_t sample = 1; sample <= 400; ++sample) {
    const auto coalition = coalition_of(9, sample, {Sampling::HalfAndWhole, 500, 0});
    EXPECT(coalition.shows == coalition_of(9, sample, {Sampling::Half, 500, 0}).shows);
    shown += size_of(coalition);
  }
  EXPECT(std::abs(static_cast<double>(shown) / 3600 - 0.5) < 5 * 0.5 / 60);
}

TEST("additive: of a score that is a sum each regression finds the sum") {
  const std::vector<double> brings{2, -1, 0.5, 4, 0};
  const auto score = [&](const std::vector<bool>& shows) {
    double sum = 3;
    for (size_t i = 0; i < shows.size(); ++i) sum += shows[i] ? brings[i] : 0;
    return sum;
  };
  for (const auto& settings : {AdditiveSettings{Regression::Shapley, 0, {Sampling::Kernel, 30, 0}},
                               AdditiveSettings{Regression::Shapley, 0, {Sampling::Kernel, 12, 1}},
                               AdditiveSettings{Regression::Ridge, 0, {Sampling::Half, 40, 2}}}) {
    const auto model = fit_additive_model(5, observe(5, settings.coalitions, score), settings);
    EXPECT((model.values - at::tensor(brings, at::kDouble)).abs().max().item<double>() < kDoubleRounding);
    EXPECT(std::abs(model.fit - 1) < kDoubleRounding, model.fit);
  }
}

TEST("additive: two segments that only count together share what they bring") {
  const auto both = [](const std::vector<bool>& shows) { return shows[0] && shows[1] ? 6.0 : 0.0; };
  const AdditiveSettings settings{Regression::Shapley, 0, {Sampling::Kernel, 6, 0}};
  const auto model = fit_additive_model(3, observe(3, settings.coalitions, both), settings);
  EXPECT((model.values - at::tensor({3.0, 3.0, 0.0}, at::kDouble)).abs().max().item<double>() < kDoubleRounding);
  EXPECT(model.fit < 1 - 1e-3, model.fit);
}

TEST("additive: ridge and lasso solve what defines them") {
  const CoalitionSettings coalitions{Sampling::Half, 50, 3};
  const auto score = [](const std::vector<bool>& shows) {
    double sum = 0;
    for (size_t i = 0; i < shows.size(); ++i) sum += shows[i] ? std::sin(static_cast<double>(7 * i + 1)) : 0;
    return sum * sum + (shows[0] ? 1 : 0);
  };
  auto observed = observe(6, coalitions, score);
  observed.weights = sequence({50}, 31).to(at::kDouble) + 0.25;
  auto shows = at::zeros({50, 6}, at::kDouble);
  for (int64_t row = 0; row < 50; ++row) {
    for (int64_t i = 0; i < 6; ++i) {
      shows[row][i] = coalition_of(6, row, coalitions).shows[static_cast<size_t>(i)] ? 1.0 : 0.0;
    }
  }
  // The slope of the weighted squares by each value, where the constant is the best for them.
  const auto slope_of = [&](const at::Tensor& values) {
    const auto weights = observed.weights / observed.weights.sum();
    const auto rest = observed.scores - shows.mv(values);
    return shows.t().mv(weights * (rest - (weights * rest).sum()));
  };
  const auto ridge = fit_additive_model(6, observed, {Regression::Ridge, 2, coalitions}).values;
  const auto pulled = ridge * (2 / observed.weights.sum().item<double>());
  EXPECT((slope_of(ridge) - pulled).abs().max().item<double>() < kDoubleRounding);
  const auto lasso = fit_additive_model(6, observed, {Regression::Lasso, 0.1, coalitions}).values;
  const auto slopes = slope_of(lasso);
  int64_t zeros = 0;
  for (int64_t i = 0; i < 6; ++i) {
    const auto value = lasso[i].item<double>(), slope = slopes[i].item<double>();
    if (value == 0) {
      ++zeros;
      EXPECT(std::abs(slope) <= 0.1 + 1e-8, slope);
    } else {
      EXPECT(std::abs(slope - std::copysign(0.1, value)) < 1e-8, slope);
    }
  }
  EXPECT(zeros > 0 && zeros < 6, zeros);
}

TEST("additive: what cannot be fitted is refused, or told") {
  const auto few = message_of_error([] { coalition_of(31, 0, {Sampling::Kernel, 30, 0}); });
  EXPECT(few.find("31 segments, which 30 samples") != std::string::npos, few);
  const AdditiveSettings ridge{Regression::Ridge, 1, {Sampling::Half, 4, 0}};
  const auto none = message_of_error([&] { fit_additive_model(3, {at::zeros({4}), at::zeros({4})}, ridge); });
  EXPECT(none.find("wider kernel") != std::string::npos, none);
  const auto nan = fit_additive_model(3, {at::tensor({1.0F, NAN, 2.0F, 3.0F}), at::zeros({4}) + 1}, ridge);
  EXPECT(nan.values.isnan().all().item<bool>() && std::isnan(nan.fit));
  // Scores that do not vary are told by any values.
  const auto flat = fit_additive_model(3, {at::zeros({4}) + 2, at::zeros({4}) + 1}, ridge);
  EXPECT_EQUAL(flat.values.abs().max().item<double>(), 0.0);
  EXPECT_EQUAL(flat.fit, 1.0);
}

}  // namespace sightline::test
