// Spectra, blurs, rolls and cuts: numpy's and scipy's numbers, gradients, each image by its own offset.
#include "engine/algorithms/spectrum.h"

#include "engine/algorithms/gaussian_blur.h"
#include "engine/algorithms/shift.h"
#include "engine/errors.h"
#include "references/sequence.h"
#include "references/spectrum.h"
#include "rounding.h"
#include "runner.h"

namespace sightline::test {

namespace {

using Function = std::function<at::Tensor(const at::Tensor&)>;

at::Tensor wide(const at::Tensor& x) { return x.to(at::kDouble); }

// For linear functions: <f(x), y> = <x, f'(y)> where f' is the gradient. In float64, which leaves nothing to rounding.
void expect_adjoint(const Function& function, const at::Tensor& narrow) {
  const auto x = wide(narrow);
  at::AutoGradMode mode(true);
  const auto leaf = x.detach().clone().requires_grad_(true);
  const auto result = function(leaf);
  const auto weights = wide(sequence(result.sizes().vec(), 99)) - 0.5;
  const auto score = (result * weights).sum();
  const auto gradient = torch::autograd::grad({score}, {leaf})[0];
  const auto direction = wide(sequence(x.sizes().vec(), 98)) - 0.5;
  const auto expected = ((function(x + direction) - function(x)) * weights).sum().item<double>();
  const auto found = (gradient * direction).sum().item<double>();
  EXPECT(std::abs(found - expected) <= kRoundoff * std::max(1.0, std::abs(expected)), found, " is not ", expected);
  EXPECT(gradient.abs().max().item<double>() > 0);
}

double largest(const at::Tensor& x) { return x.abs().max().item<double>(); }

std::string message_of(const std::function<void()>& function) {
  try {
    function();
  } catch (const EngineError& error) {
    return error.message();
  }
  return "nothing was thrown";
}

}  // namespace

TEST("spectrum: the inverse transform equals numpy's, at even and odd widths") {
  // What is left is the reference's own rounding, of its input and of what it is written in.
  const auto even = real_from_spectrum(wide(sequence({1, 2, 4, 4, 2}, 4) - 0.5), 4, 6);
  EXPECT_EQUAL(even.sizes(), (std::vector<int64_t>{1, 2, 4, 6}));
  EXPECT(largest_difference(even, tensor_of(kFromEvenSpectrum, {1, 2, 4, 6})) <= kRoundoff * largest(even));
  const auto odd = real_from_spectrum(wide(sequence({1, 1, 3, 3, 2}, 5) - 0.5), 3, 5);
  EXPECT(largest_difference(odd, tensor_of(kFromOddSpectrum, {1, 1, 3, 5})) <= kRoundoff * largest(odd));
}

TEST("spectrum: a real image comes back from its own spectrum, and gradients flow") {
  const auto image = wide(sequence({2, 3, 8, 10}, 30));
  const std::vector<int64_t> sizes{8, 10}, axes{-2, -1};
  const auto spectrum = at::view_as_real(at::fft_rfft2(image, sizes, axes, "ortho"));
  EXPECT(largest_difference(real_from_spectrum(spectrum, 8, 10), image) <= kRoundoff);
  expect_adjoint([](const at::Tensor& x) { return real_from_spectrum(x, 8, 10); }, spectrum);
  // As a permuted view, which complex numbers cannot be seen in.
  const auto permuted = spectrum.permute({4, 0, 1, 2, 3}).contiguous().permute({1, 2, 3, 4, 0});
  EXPECT(largest_difference(real_from_spectrum(permuted, 8, 10), image) <= kRoundoff);
}

TEST("spectrum: a spectrum of another size is refused") {
  const auto message = message_of([] { real_from_spectrum(at::zeros({1, 3, 4, 4, 2}), 4, 8); });
  EXPECT(message.find("4 x 8") != std::string::npos, message);
}

TEST("blur: equals scipy's and keeps constants") {
  const auto x = sequence({1, 2, 5, 6}, 6);
  EXPECT(largest_difference(gaussian_blur(wide(x), 5, 1.2), tensor_of(kBlurred, {1, 2, 5, 6})) <= kRoundoff);
  const auto even = at::full({2, 3, 7, 7}, 0.3, at::kDouble);
  EXPECT(largest_difference(gaussian_blur(even, 5, 2.0), even) <= kRoundoff);
  EXPECT(at::equal(gaussian_blur(x, 1, 1.0), x));
  expect_adjoint([](const at::Tensor& input) { return gaussian_blur(input, 3, 0.7); }, x);
}

TEST("blur: sizes that do not fit are refused") {
  const auto x = at::zeros({1, 1, 4, 9});
  EXPECT(message_of([&] { gaussian_blur(x, 4, 1.0); }).find("odd") != std::string::npos);
  EXPECT(message_of([&] { gaussian_blur(x, 3, 0.0); }).find("sigma") != std::string::npos);
  EXPECT(message_of([&] { gaussian_blur(x, 9, 1.0); }).find("4 x 9") != std::string::npos);
}

TEST("shift: rolling each image equals rolling it alone") {
  const auto x = sequence({4, 2, 5, 7}, 31);
  const std::vector<float> rows{0, 2, -1, 13}, columns{3, -2, 0, -20};
  const auto rolled = roll_each(x, at::tensor(rows), at::tensor(columns));
  for (int64_t i = 0; i < 4; ++i) {
    const std::vector<int64_t> shifts{static_cast<int64_t>(rows[i]), static_cast<int64_t>(columns[i])}, axes{-2, -1};
    EXPECT(at::equal(rolled[i], at::roll(x[i], shifts, axes)), "image ", i);
  }
  expect_adjoint([&](const at::Tensor& input) { return roll_each(input, at::tensor(rows), at::tensor(columns)); }, x);
  // Planes without a channel axis, offsets as whole numbers.
  const auto flat = roll_each(x.select(1, 0), at::tensor(rows).to(at::kLong), at::tensor(columns).to(at::kLong));
  EXPECT(at::equal(flat, rolled.select(1, 0)));
}

TEST("shift: each image is cut at its own offset, never outside") {
  const auto x = sequence({3, 2, 6, 8}, 32);
  const auto rows = at::tensor(std::vector<float>{0, 3, 2.9f}), columns = at::tensor(std::vector<float>{4, -1, 100});
  const auto cut = crop_each(x, rows, columns, 3, 4);
  EXPECT_EQUAL(cut.sizes(), (std::vector<int64_t>{3, 2, 3, 4}));
  const std::vector<int64_t> tops{0, 3, 2}, lefts{4, 0, 4};
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT(at::equal(cut[i], x[i].narrow(1, tops[i], 3).narrow(2, lefts[i], 4)), "image ", i);
  }
  expect_adjoint([&](const at::Tensor& input) { return crop_each(input, rows, columns, 3, 4); }, x);
  EXPECT(message_of([&] { crop_each(x, rows, columns, 7, 4); }).find("7 x 4") != std::string::npos);
}

}  // namespace sightline::test
