// DeepLIFT's rule: multipliers by hand, and sums that are the difference of both scores.
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <limits>

#include "archives.h"
#include "engine/errors.h"
#include "rounding.h"
#include "ruled.h"
#include "runner.h"

namespace sightline::test {

namespace {

const Rule kRule{"deeplift"};

at::Tensor row(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble).view({1, static_cast<int64_t>(values.size())});
}

// The multipliers of x [1, ...] against the baseline, where `into` arrives.
at::Tensor multipliers(const std::string& body, const at::Tensor& x, const at::Tensor& baseline, const at::Tensor& into,
                       const std::vector<std::pair<std::string, c10::IValue>>& constants = {}) {
  const auto found = gradient_at(test::apply(parse(body, constants), kRule), at::stack({x, baseline}, 1), into);
  EXPECT(found.select(1, 1).eq(0).all().item<bool>());
  return found.select(1, 0);
}

bool holds(const at::Tensor& found, const std::vector<double>& expected) {
  return at::allclose(found.flatten(), at::tensor(expected, at::kDouble), 1e-12, 1e-12);
}

// Whether what the graph gains is what its inputs' differences bring.
void expect_complete(const std::string& body, const at::Tensor& x, const at::Tensor& baseline,
                     const std::vector<std::pair<std::string, c10::IValue>>& constants = {}) {
  const auto plain = test::apply(parse(body, constants), {""});
  const auto y = plain.run(0, x)[0], y0 = plain.run(0, baseline)[0];
  const auto into = at::randn(y.sizes(), at::make_generator<at::CPUGeneratorImpl>(7), at::kDouble);
  const auto brought = ((x - baseline) * multipliers(body, x, baseline, into, constants)).sum().item<double>();
  const auto gained = ((y - y0) * into).sum().item<double>();
  EXPECT(std::abs(brought - gained) <= 1e-12 * (y - y0).abs().mul(into.abs()).sum().item<double>(), body, ": ", brought,
         " instead of ", gained);
  // The values are the image's.
  EXPECT(at::equal(test::apply(parse(body, constants), kRule).run(0, at::stack({x, baseline}, 1))[0], y), body);
}

at::Tensor random(at::IntArrayRef sizes, int64_t seed) {
  return at::randn(sizes, at::make_generator<at::CPUGeneratorImpl>(seed), at::kDouble);
}

}  // namespace

TEST("rescale: a rectifier's derivative becomes the ratio of differences, and stays where there is none") {
  const char* relu = "  %y : Tensor = aten::relu(%x)\n  return (%y)";
  // Across the edge up and down, on either side of it, and the same on both images.
  const auto x = row({1, -3, 2, -2, 4, -4}), baseline = row({-1, 1, 1, -1, 4, -4}), into = row({8, 8, 8, 8, 8, 8});
  EXPECT(holds(multipliers(relu, x, baseline, into), {4, 2, 8, 0, 8, 0}));
  const char* square = "  %y : Tensor = aten::square(%x)\n  return (%y)";
  EXPECT(holds(multipliers(square, row({3, 2}), row({1, 2}), row({1, 1})), {4, 4}));
}

TEST("rescale: what an image has beside a rectifier keeps its own part") {
  const char* residual = R"IR(
    %one : int = prim::Constant[value=1]()
    %a : Tensor = aten::relu(%x)
    %b : Tensor = aten::relu(%a)
    %y : Tensor = aten::add(%x, %b, %one)
    return (%y))IR";
  EXPECT(holds(multipliers(residual, row({1, -1}), row({-1, -2}), row({1, 1})), {1.5, 1}));
}

TEST("rescale: the larger maximum's gain goes to its own place, a loss to the baseline's") {
  const char* pool = "  %y : Tensor = aten::max_pool2d(%x, %k, %k, %p, %d, %no)\n  return (%y)";
  const std::vector<std::pair<std::string, c10::IValue>> settings{{"k", std::vector<int64_t>{1, 2}},
                                                                  {"p", std::vector<int64_t>{0, 0}},
                                                                  {"d", std::vector<int64_t>{1, 1}},
                                                                  {"no", false}};
  const auto plane = [](const std::vector<double>& values) { return row(values).view({1, 1, 1, -1}); };
  // 3 is gained over 2, by a place that gains 3; 1 is left of 4, by a place that loses 4; equal places keep the gradient.
  const auto found =
      multipliers(pool, plane({1, 3, 1, 0, 5, 2}), plane({2, 0, 0, 4, 5, 1}), plane({6, 4, 2}), settings);
  EXPECT(holds(found, {0, 2, 0, 3, 2, 0}));
  const std::vector<std::pair<std::string, c10::IValue>> overlapping{{"k", std::vector<int64_t>{3, 3}},
                                                                     {"p", std::vector<int64_t>{1, 1}},
                                                                     {"d", std::vector<int64_t>{1, 1}},
                                                                     {"s", std::vector<int64_t>{2, 2}},
                                                                     {"no", true}};
  expect_complete("  %y : Tensor = aten::max_pool2d(%x, %k, %s, %p, %d, %no)\n  return (%y)", random({2, 3, 7, 6}, 1),
                  random({2, 3, 7, 6}, 2), overlapping);
}

TEST("rescale: factors share a product by the mean of the other, whatever writes it") {
  const char* squared = "  %y : Tensor = aten::mul(%x, %x)\n  return (%y)";
  EXPECT(holds(multipliers(squared, row({3, 2}), row({1, -2}), row({1, 1})), {4, 0}));
  const char* gate = "  %r : Tensor = aten::relu(%x)\n  %y : Tensor = aten::mul(%x, %r)\n  return (%y)";
  // relu goes from 0 to 2 as x does from -2 to 2: its multiplier 0.5 times the mean of x, 0, and the mean of relu, 1.
  EXPECT(holds(multipliers(gate, row({2}), row({-2}), row({1})), {1}));
  const auto x = random({2, 3, 4}, 3), baseline = random({2, 3, 4}, 4);
  expect_complete(gate, x, baseline);
  for (const char* name : {"matmul", "bmm"}) {
    expect_complete(
        "  %m : int = prim::Constant[value=-1]()\n  %n : int = prim::Constant[value=-2]()\n"
        "  %t : Tensor = aten::transpose(%x, %m, %n)\n  %y : Tensor = aten::" +
            std::string(name) + "(%x, %t)\n  return (%y)",
        x, baseline);
  }
  expect_complete(
      "  %t : Tensor = aten::transpose(%x, %m, %n)\n"
      "  %y : Tensor = aten::baddbmm(%c, %x, %t, %one, %two)\n  return (%y)",
      x, baseline, {{"c", random({2, 3, 3}, 5)}, {"one", 1}, {"two", 2}, {"m", -1}, {"n", -2}});
  const char* quotient = "  %e : Tensor = aten::exp(%x)\n  %y : Tensor = aten::div(%x, %e)\n  return (%y)";
  expect_complete(quotient, x, baseline);
  const char* reciprocal = "  %e : Tensor = aten::exp(%x)\n  %y : Tensor = aten::div(%c, %e)\n  return (%y)";
  expect_complete(reciprocal, x, baseline, {{"c", random({2, 3, 4}, 6)}});
}

TEST("rescale: softmax and layer norm are complete, also far from the baseline") {
  const std::vector<std::pair<std::string, c10::IValue>> along{{"last", -1}, {"none", c10::IValue()}};
  const char* softmax = "  %y : Tensor = aten::softmax(%x, %last, %none)\n  return (%y)";
  const auto x = random({2, 5, 6}, 8), baseline = random({2, 5, 6}, 9);
  for (const double scale : {1e-3, 1.0, 300.0}) expect_complete(softmax, x * scale, baseline * scale, along);
  // What does not differ has the slope of softmax itself.
  const auto p = x.softmax(-1);
  const auto into = random({2, 5, 6}, 10);
  const auto found = multipliers(softmax, x, x, into, along);
  EXPECT(at::allclose(found, p * (into - (p * into).sum(-1, true)), 1e-10, 1e-12));
  // A masked key has none.
  const char* masked =
      "  %m : Tensor = aten::add(%x, %mask, %one)\n  %y : Tensor = aten::softmax(%m, %last, %none)\n"
      "  return (%y)";
  auto mask = at::zeros({6}, at::kDouble);
  mask[2] = -std::numeric_limits<double>::infinity();
  auto with_mask = along;
  with_mask.insert(with_mask.end(), {{"mask", mask}, {"one", 1}});
  EXPECT(multipliers(masked, x, baseline, into, with_mask).select(-1, 2).eq(0).all().item<bool>());
  expect_complete(masked, x, baseline, with_mask);

  const char* norm = "  %y : Tensor = aten::layer_norm(%x, %shape, %w, %b, %eps, %no)\n  return (%y)";
  const std::vector<std::pair<std::string, c10::IValue>> settings{
      {"shape", std::vector<int64_t>{6}}, {"w", random({6}, 11)}, {"b", random({6}, 12)}, {"eps", 1e-5}, {"no", false}};
  for (const double scale : {1e-2, 1.0, 100.0}) expect_complete(norm, x * scale, baseline, settings);
}

TEST("rescale: an operator without a rule is refused by name, and a difference that nothing flows back from") {
  const auto refusal = [](const std::string& body,
                          const std::vector<std::pair<std::string, c10::IValue>>& constants = {}) {
    const auto error = thrown_by([&] { test::apply(parse(body, constants), kRule); });
    EXPECT_EQUAL(error.code(), std::string("METHOD_NOT_APPLICABLE"));
    EXPECT(error.message().find("'deeplift'") != std::string::npos, error.message());
    return error.message();
  };
  const auto names = [](const std::string& message, const char* name) {
    EXPECT(message.find(std::string("'") + name + "'") != std::string::npos, message);
  };
  names(refusal("  %y : Tensor = aten::amax(%x, %axes, %no)\n  return (%y)",
                {{"axes", std::vector<int64_t>{1}}, {"no", false}}),
        "amax");
  // Where a pixel decides, both images need not go the same way.
  names(refusal("  %m : Tensor = aten::gt(%x, %zero)\n  %y : Tensor = aten::where(%m, %x, %c)\n  return (%y)",
                {{"zero", 0}, {"c", row({1, 2})}}),
        "where");
  names(
      refusal("  %d : Tensor = aten::detach(%x)\n  %y : Tensor = aten::add(%x, %d, %one)\n  return (%y)", {{"one", 1}}),
      "add");
  // Beside the way to the output it does not matter.
  test::apply(parse("  %e : Tensor = aten::detach(%x)\n  %y : Tensor = aten::relu(%x)\n  return (%y)"), kRule);
}

TEST("rescale: every archive that the rule follows is complete, and keeps its values") {
  int64_t followed = 0;
  for (const auto& each : archives()) {
    if (each.is_quantised) continue;
    const auto model = each.load();
    auto& network = model->network(each.height, each.width);
    if (network.info().rule_reasons.count("deeplift") != 0) continue;
    const TapRequest logits{{Tap::Kind::Logits, {}, -1}, false}, image{{Tap::Kind::Image, {}, -1}, true};
    const auto images = each.images(2), baselines = 0.5 * images.flip({3});
    const auto& program = network.program({logits, image}, kRule);
    const auto outputs = program.run(model->self(), at::stack({images, baselines}, 1));
    EXPECT_EQUAL(outputs[1].sizes(), images.sizes(), each.name);
    const auto scores = [&](const at::Tensor& input) { return network.program({logits}).run(model->self(), input)[0]; };
    const auto rounding = 2 * static_cast<double>(program.operators()) * kRoundoff;
    const auto expected = scores(images);
    EXPECT((outputs[0] - expected).abs().max().item<double>() <= rounding * expected.abs().max().item<double>(),
           each.name);
    const auto multiplier = torch::autograd::grad({outputs[0].select(1, 1).sum()}, {outputs[1]}).at(0);
    const auto shares = (multiplier * (images - baselines)).to(at::kDouble).flatten(1);
    const auto gain = (expected - scores(baselines)).select(1, 1).to(at::kDouble);
    const auto error = (shares.sum(1) - gain).abs();
    const auto size = shares.abs().sum(1) + expected.abs().amax(1);
    EXPECT((error <= rounding * size).all().item<bool>(), each.name, ": ", error.max().item<double>(), " of ",
           size.max().item<double>());
    ++followed;
  }
  EXPECT(followed >= 25, followed);
}

}  // namespace sightline::test
