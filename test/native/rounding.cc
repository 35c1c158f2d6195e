#include "rounding.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "runner.h"

namespace sightline::test {

namespace {

constexpr double kNudge = 16 * kRoundoff;
constexpr int kNudges = 12;     // a ReLU's kink that lies next to an activation is met by one of several
constexpr double kOpen = 1e-2;  // left open by more, the worst place says nothing
constexpr double kVague = 0.1;  // left open by more, the middle says nothing either

struct Distance {
  double largest = 0, middle = 0;
};

Distance distance(const at::Tensor& found, const at::Tensor& expected) {
  EXPECT(found.sizes() == expected.sizes(), found.sizes(), " against ", expected.sizes());
  const auto wanted = expected.detach().to(at::kDouble);
  const auto apart = (found.detach().to(at::kDouble) - wanted).abs();
  const auto size = wanted.abs().max().item<double>();
  const auto scale = size > 0 ? size : 1;
  const auto largest = apart.max().item<double>();
  return {std::isnan(largest) ? INFINITY : largest / scale, apart.median().item<double>() / scale};
}

at::Tensor nudged(const at::Tensor& images, uint64_t seed) {
  const auto signs = at::randint(2, images.sizes(), at::make_generator<at::CPUGeneratorImpl>(seed), images.options());
  return images.detach() * (1 + kNudge * (2 * signs - 1));
}

}  // namespace

void expect_rounded(const at::Tensor& found, const at::Tensor& expected, int64_t operators, const at::Tensor& images,
                    const Answer& answer, const std::string& what) {
  const auto apart = distance(found, expected);
  const double rounding = 2 * static_cast<double>(operators) * kRoundoff;
  if (apart.largest <= rounding) return;
  EXPECT(std::isfinite(apart.largest), what, ": a value is not finite");
  const auto start = answer(images);
  Distance moved{kNudge, kNudge};
  for (int seed = 1; seed <= kNudges; ++seed) {
    const auto moves = distance(answer(nudged(images, static_cast<uint64_t>(seed))), start);
    moved = {std::max(moved.largest, moves.largest), std::max(moved.middle, moves.middle)};
    const double limit = rounding * moved.largest / kNudge, middle = rounding * moved.middle / kNudge;
    if (limit <= kOpen ? apart.largest <= limit : middle <= kVague && apart.middle <= middle) return;
  }
  fail_at(__FILE__, __LINE__, what, ": lies ", apart.largest, " off, ", apart.middle,
          " in the middle, and rounding explains ", rounding * moved.largest / kNudge, " and ",
          rounding * moved.middle / kNudge);
}

}  // namespace sightline::test
