// Relevance rules: values stay, gradients become what each rule says.
#include <ATen/CPUGeneratorImpl.h>

#include "archives.h"
#include "engine/errors.h"
#include "engine/graph/graph_ops.h"
#include "engine/graph/straighten.h"
#include "engine/relevance/rules.h"
#include "rounding.h"
#include "ruled.h"
#include "runner.h"

namespace sightline::test {

namespace {

using torch::jit::Graph;

bool holds(const at::Tensor& found, const std::vector<double>& expected) {
  // The gamma rule moves denominators by 1e-6, which are 1 and more here; rounding is less.
  return at::allclose(found.flatten().to(at::kDouble), at::tensor(expected, at::kDouble), 1e-6, 1e-6);
}

// An archive's straight graph with the logits and every named node as outputs.
struct Traced {
  explicit Traced(const Archive& archive) : model(archive.load()) {
    straight = straighten(module_of(*model), archive.images(1));
    for (const auto& node : straight.nodes) straight.graph->registerOutput(node.value);
  }
  std::unique_ptr<Model> model;
  StraightGraph straight;
};

const std::vector<Rule> kRules{{"guided-backprop"},      {"deconvnet"},          {"attn-lrp"},
                               {"attn-lrp", 0.05, 0.25}, {"cp-lrp", 0.05, 0.25}, {"lrp"}};

bool has_rectifier(const Graph& graph) {
  for (const auto* node : graph.nodes()) {
    if (is_any_of(node, {"relu", "gelu", "silu"})) return true;
  }
  return false;
}

}  // namespace

TEST("relevance: guided backpropagation cuts behind the derivative, deconvnet leaves the derivative out") {
  const auto graph = parse(R"IR(
    %y : Tensor = aten::relu(%x)
    return (%y))IR");
  const auto x = at::tensor({1.0, -1.0, 2.0, -2.0});
  const auto into = at::tensor({3.0, 3.0, -3.0, -3.0});
  EXPECT(holds(gradient_at(apply(graph, {""}), x, into), {3, 0, -3, 0}));
  EXPECT(holds(gradient_at(apply(graph, {"guided-backprop"}), x, into), {3, 0, 0, 0}));
  EXPECT(holds(gradient_at(apply(graph, {"deconvnet"}), x, into), {3, 3, 0, 0}));
}

TEST("relevance: a residual connection beside a rectifier keeps its own gradient") {
  const auto graph = parse(R"IR(
    %one : int = prim::Constant[value=1]()
    %a : Tensor = aten::relu(%x)
    %y : Tensor = aten::add(%x, %a, %one)
    return (%y))IR");
  const auto x = at::tensor({1.0, -1.0, 2.0});
  const auto into = at::tensor({3.0, 3.0, -3.0});
  EXPECT(holds(gradient_at(apply(graph, {"guided-backprop"}), x, into), {6, 3, -3}));
  EXPECT(holds(gradient_at(apply(graph, {"deconvnet"}), x, into), {6, 6, -3}));
}

TEST("relevance: replaced taps keep values and get the rule's gradient") {
  const auto graph = parse(R"IR(
    %minus : float = prim::Constant[value=-1.]()
    %a : Tensor = aten::relu(%x)
    %b : Tensor = aten::mul(%a, %minus)
    %c : Tensor = aten::relu(%b)
    return (%c, %a))IR");
  for (const char* name : {"guided-backprop", "deconvnet"}) {
    const auto ruled = apply(graph, {name});
    const auto leaf = at::tensor({1.0, -1.0}).requires_grad_(true);
    const auto outputs = ruled.run(0, leaf);
    EXPECT(holds(outputs[1], {1, 0}), name);
    const auto found = torch::autograd::grad({outputs[0]}, {outputs[1]}, {at::tensor({5.0, 5.0})}).at(0);
    // The second relu is shut for the first element and at its edge for the second, where its derivative is 0.
    EXPECT(holds(found, std::string(name) == "deconvnet" ? std::vector<double>{-5, -5} : std::vector<double>{0, 0}),
           name);
  }
}

TEST("relevance: values do not change under any rule, for every archive") {
  for (const auto& each : archives()) {
    if (each.is_quantised) continue;
    const Traced traced(each);
    const auto images = each.images(2);
    const auto expected = apply(traced.straight.graph, {""}).run(traced.model->self(), images);
    for (const Rule& rule : kRules) {
      const auto& name = rule.name;
      if ((name == "guided-backprop" || name == "deconvnet") && !has_rectifier(*traced.straight.graph)) {
        EXPECT_EQUAL(thrown_by([&] { apply(traced.straight.graph, rule); }).code(),
                     std::string("METHOD_NOT_APPLICABLE"));
        continue;
      }
      const auto found =
          apply(traced.straight.graph, rule).run(traced.model->self(), images.clone().requires_grad_(true));
      EXPECT_EQUAL(found.size(), expected.size(), each.name);
      for (size_t i = 0; i < found.size(); ++i) EXPECT(at::equal(found[i], expected[i]), each.name, ": ", name);
      const auto gradient =
          torch::autograd::grad({found[0].select(1, 1).sum()}, {found.back(), found[1]}, {}, false, false, true);
      EXPECT(gradient[1].defined() && gradient[1].isfinite().all().item<bool>(), each.name, ": ", name);
    }
  }
}

TEST("relevance: a linear layer's goes to the inputs that drive each output up, however the layer is written") {
  const auto weight = at::tensor({1.0, 1.0, -1.0, -1.0}).view({2, 2}), bias = at::tensor({7.0, -7.0});
  const auto x = at::tensor({1.0, -2.0}).view({1, 2});
  const std::vector<std::shared_ptr<Graph>> forms{
      parse("  %y : Tensor = aten::linear(%x, %w, %b)\n  return (%y)", {{"w", weight}, {"b", bias}}),
      parse("  %y : Tensor = aten::addmm(%b, %x, %w, %one, %one)\n  return (%y)",
            {{"w", weight.t()}, {"b", bias}, {"one", 1}}),
      parse("  %p : Tensor = aten::matmul(%x, %w)\n  %y : Tensor = aten::add(%p, %b, %one)\n  return (%y)",
            {{"w", weight.t()}, {"b", bias}, {"one", 1}}),
      parse("  %p : Tensor = aten::matmul(%x, %w)\n  %y : Tensor = aten::add(%b, %p, %one)\n  return (%y)",
            {{"w", weight.t()}, {"b", bias}, {"one", 1}}),
  };
  for (const auto& graph : forms) {
    // Contributions are 1, -2 and -1, 2: of each output only one is positive.
    EXPECT(holds(gradient_at(apply(graph, {"lrp"}), x, at::tensor({3.0, 5.0}).view({1, 2})), {3, 5}));
  }
}

TEST("relevance: the gamma rule strengthens what drives an output towards its own sign") {
  const auto layer = [](std::vector<double> weight) {
    return parse("  %y : Tensor = aten::linear(%x, %w, %b)\n  return (%y)",
                 {{"w", at::tensor(weight, at::kDouble).view({1, 2})}, {"b", at::tensor({0.0}, at::kDouble)}});
  };
  const auto x = at::tensor({1.0, 1.0}, at::kDouble).view({1, 2}), into = at::ones({1, 1}, at::kDouble);
  for (const char* name : {"attn-lrp", "cp-lrp"}) {
    // The output is 1: weights (2, -1) become (4, -1), relevance 1 is shared 4 : -1.
    EXPECT(holds(gradient_at(apply(layer({2, -1}), {name, 1, 0}), x, into), {4 / 3., -1 / 3.}), name);
    // The output is -1: weights (1, -2) become (1, -4).
    EXPECT(holds(gradient_at(apply(layer({1, -2}), {name, 1, 0}), x, into), {1 / 3., 4 / 3. * -1}), name);
    EXPECT(holds(gradient_at(apply(layer({2, -1}), {name, 0, 1}), x, into), {2, -1}), name);
  }
}

TEST("relevance: a convolution's rules are those of the linear layer that it is") {
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(3);
  const auto weight = at::randn({4, 2}, generator, at::kDouble), bias = at::randn({4}, generator, at::kDouble);
  const auto x = at::randn({5, 2}, generator, at::kDouble), into = at::randn({5, 4}, generator, at::kDouble);
  const auto linear = parse("  %y : Tensor = aten::linear(%x, %w, %b)\n  return (%y)", {{"w", weight}, {"b", bias}});
  const auto convolution = parse("  %y : Tensor = aten::conv2d(%x, %w, %b, %s, %p, %s, %g)\n  return (%y)",
                                 {{"w", weight.view({4, 2, 1, 1})},
                                  {"b", bias},
                                  {"s", std::vector<int64_t>{1, 1}},
                                  {"p", std::vector<int64_t>{0, 0}},
                                  {"g", 1}});
  for (const Rule& rule : {Rule{"lrp"}, Rule{"attn-lrp", 0.5, 0.5}}) {
    const auto found =
        gradient_at(apply(convolution, rule), x.view({5, 2, 1, 1}), into.view({5, 4, 1, 1})).view({5, 2});
    EXPECT(relative_difference(found, gradient_at(apply(linear, rule), x, into)) <= kRoundoff, rule.name);
  }
}

TEST("relevance: pixels get the bounded rule, which keeps the sum") {
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(4);
  const auto graph = parse("  %y : Tensor = aten::conv2d(%x, %w, %b, %s, %p, %d, %g)\n  return (%y)",
                           {{"w", at::randn({4, 3, 2, 2}, generator, at::kDouble)},
                            {"b", at::zeros({4}, at::kDouble)},
                            {"s", std::vector<int64_t>{2, 2}},
                            {"p", std::vector<int64_t>{0, 0}},
                            {"d", std::vector<int64_t>{1, 1}},
                            {"g", 1}});
  const auto x = at::randn({2, 3, 4, 4}, generator, at::kDouble), into = at::rand({2, 4, 2, 2}, generator, at::kDouble);
  const auto found = gradient_at(apply(graph, {"lrp"}), x, into);
  EXPECT(relative_difference(found.sum({1, 2, 3}), into.sum({1, 2, 3})) <= kRoundoff);
}

TEST("relevance: of a sum is rescaled by each summand's own sum over one image") {
  const auto graph = parse(R"IR(
    %one : int = prim::Constant[value=1]()
    %b : Tensor = aten::relu(%x)
    %y : Tensor = aten::add(%x, %b, %one)
    return (%y))IR");
  // Shares of x are (1, -4), sum -3; of relu(x) (1, 0), sum 1; -2 arrives. Rescaled: (0.5, -2) and (-0.5, 0).
  const auto x = at::tensor({1.0, -2.0}).view({1, 2}), into = at::tensor({2.0, -4.0}).view({1, 2});
  EXPECT(holds(gradient_at(apply(graph, {"lrp"}), x, into), {0, -2}));
  // Another image beside it changes nothing.
  const auto pair = gradient_at(apply(graph, {"lrp"}), at::cat({x, 5 * x.flip({1})}), at::cat({into, into.abs()}));
  EXPECT(holds(pair[0], {0, -2}));
}

TEST("relevance: products of two tensors halve, averages share in proportion, scales and biases let it pass") {
  const auto row = at::tensor({1.0, 2.0}).view({1, 2});
  const auto product = parse("  %t : Tensor = aten::t(%x)\n  %y : Tensor = aten::matmul(%x, %t)\n  return (%y)");
  EXPECT(holds(gradient_at(apply(product, {"lrp"}), row, at::full({1, 1}, 10.0)), {2, 8}));
  const auto gate = parse("  %s : Tensor = aten::sigmoid(%x)\n  %y : Tensor = aten::mul(%x, %s)\n  return (%y)");
  EXPECT(holds(gradient_at(apply(gate, {"lrp"}), row, at::tensor({4.0, 6.0}).view({1, 2})), {4, 6}));
  const auto mean = parse("  %y : Tensor = aten::mean(%x, %axes, %keep, %none)\n  return (%y)",
                          {{"axes", std::vector<int64_t>{1}}, {"keep", false}, {"none", c10::IValue()}});
  EXPECT(holds(gradient_at(apply(mean, {"lrp"}), at::tensor({1.0, 3.0}).view({1, 2}), at::tensor({8.0})), {2, 6}));
  const auto scaled = parse("  %p : Tensor = aten::mul(%x, %g)\n  %y : Tensor = aten::add(%p, %b, %one)\n  return (%y)",
                            {{"g", at::tensor({-3.0, 0.5})}, {"b", at::tensor({1.0, 9.0})}, {"one", 1}});
  EXPECT(holds(gradient_at(apply(scaled, {"lrp"}), row, at::tensor({4.0, 6.0}).view({1, 2})), {4, 6}));
}

TEST("relevance: position embeddings take their share, masks of attention take none") {
  const auto added = [](const char* rest) {
    return parse(
        std::string("  %y : Tensor = aten::add(%x, %c, %one)\n") + rest,
        {{"c", at::tensor({1.0, 1.0, 3.0, 1.0}).view({1, 2, 2})}, {"one", 1}, {"last", -1}, {"none", c10::IValue()}});
  };
  const auto x = at::tensor({1.0, 3.0, 1.0, 1.0}).view({1, 2, 2}), into = at::full({1, 2, 2}, 4.0);
  // x's shares 2, 3, 1, 2 and the constant's 2, 1, 3, 2 sum to 8 each: nothing is to be rescaled.
  EXPECT(holds(gradient_at(apply(added("  return (%y)"), {"lrp"}), x, into), {2, 3, 1, 2}));
  const auto masked = added("  %p : Tensor = aten::softmax(%y, %last, %none)\n  return (%p)");
  EXPECT(holds(gradient_at(apply(masked, {"lrp"}), x, into), {4, 4, 4, 4}));
}

TEST("relevance: gradient times value passes activations and layer norms whole") {
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(5);
  const auto x = at::randn({3, 6}, generator, at::kDouble), into = at::randn({3, 6}, generator, at::kDouble);
  for (const char* name : {"attn-lrp", "cp-lrp"}) {
    for (const char* kind : {"relu", "silu", "tanh", "sigmoid", "hardswish"}) {
      const auto graph = parse(std::string("  %y : Tensor = aten::") + kind + "(%x)\n  return (%y)");
      const auto y = apply(graph, {""}).run(0, x)[0];
      EXPECT(relative_difference(x * gradient_at(apply(graph, {name}), x, into), y * into) <= kRoundoff, name, " ",
             kind);
    }
    const auto weight = at::randn({6}, generator, at::kDouble), bias = at::randn({6}, generator, at::kDouble);
    const auto norm =
        parse("  %y : Tensor = aten::layer_norm(%x, %shape, %w, %b, %eps, %no)\n  return (%y)",
              {{"shape", std::vector<int64_t>{6}}, {"w", weight}, {"b", bias}, {"eps", 1e-5}, {"no", false}});
    const auto y = apply(norm, {""}).run(0, x)[0] - bias;
    const auto relevance = (x * gradient_at(apply(norm, {name}), x, into)).sum(1);
    EXPECT(relative_difference(relevance, (y * into).sum(1)) <= kRoundoff, name);
    // Written out: the deviation is held fast, the mean is not.
    const auto groups = parse("  %y : Tensor = aten::group_norm(%x, %g, %w, %b, %eps, %no)\n  return (%y)",
                              {{"g", 2}, {"w", weight}, {"b", bias}, {"eps", 1e-5}, {"no", false}});
    const auto grouped = x.view({3, 2, 3});
    const auto deviation = (grouped.var({-1}, false, true) + 1e-5).sqrt();
    const auto slopes = (into * weight).view({3, 2, 3});
    const auto expected = ((slopes - slopes.mean({-1}, true)) / deviation).view({3, 6});
    EXPECT(relative_difference(gradient_at(apply(groups, {name}), x, into), expected) <= kRoundoff, name);
  }
}

TEST("relevance: a fused attention gets what the opened one gets, under every rule") {
  for (const char* archived : {"timm-vit-fused-traced", "timm-swin-fused-traced", "transformers-vit-sdpa-traced",
                               "torchvision-vit-traced-no-grad"}) {
    const auto& each = archive(archived);
    const auto model = each.load();
    auto& network = model->network(each.height, each.width);
    const TapRequest logits{{Tap::Kind::Logits, {}, -1}, false}, image{{Tap::Kind::Image, {}, -1}, true};
    std::vector<TapRequest> opened{logits, image};
    for (size_t site = 0; site < network.info().attention.size(); ++site) {
      opened.push_back({{Tap::Kind::Attention, {}, static_cast<int64_t>(site)}, false});
    }
    const auto images = each.images(2);
    const auto gradient = [&](const std::vector<TapRequest>& taps, const Rule& rule, const at::Tensor& input) {
      const auto outputs = network.program(taps, rule).run(model->self(), input);
      return torch::autograd::grad({outputs[0].select(1, 1).sum()}, {outputs[1]}).at(0);
    };
    for (const Rule& rule : {Rule{"attn-lrp"}, Rule{"cp-lrp"}, Rule{"lrp"}}) {
      expect_rounded(
          gradient({logits, image}, rule, images), gradient(opened, rule, images),
          network.program(opened, rule).operators(), images,
          [&](const at::Tensor& input) { return gradient(opened, rule, input); },
          std::string(archived) + ", " + rule.name);
    }
  }
}

TEST("relevance: its sum stays 1 from the logit to every block of every vision transformer, image by image") {
  int64_t blocks = 0;
  for (const auto& each : archives()) {
    if (!each.is("vit") && !each.is("deit") && !each.is("dinov2")) continue;
    const auto model = each.load();
    auto& network = model->network(each.height, each.width);
    std::vector<TapRequest> taps{{{Tap::Kind::Logits, {}, -1}, false}};
    const auto is_block = [](const std::string& name) {
      const auto number = name.find_last_not_of("0123456789") + 1;
      const std::string before = name.substr(0, number);
      return number < name.size() && (before.ends_with("blocks.") || before.ends_with("encoder_layer_") ||
                                      before.ends_with("layer.") || before.ends_with("layers."));
    };
    for (const auto& node : network.info().nodes) {
      if (node.layout == Layout::Tokens && is_block(node.name))
        taps.push_back({{Tap::Kind::Node, node.name, -1}, true});
    }
    for (const auto& tap : taps) {
      if (!tap.with_gradient) continue;
      const auto images = each.images(3);
      const auto& program = network.program({taps[0], tap}, {"lrp"});
      const auto sums = [&](const at::Tensor& input) {
        const auto outputs = program.run(model->self(), input);
        return torch::autograd::grad({outputs[0].select(1, 1).sum()}, {outputs[1]}).at(0).sum({1, 2});
      };
      const auto found = sums(images);
      expect_rounded(found, at::ones_like(found), program.operators(), images, sums, each.name + ", " + tap.tap.node);
      ++blocks;
    }
  }
  EXPECT(blocks >= 20, blocks);
}

TEST("relevance: of a batch is that of its images") {
  for (const char* archived : {"timm-vit-unfused-traced", "timm-deit-distilled-traced", "timm-vit-average-traced",
                               "transformers-dinov2-registers-traced"}) {
    const auto& each = archive(archived);
    const auto model = each.load();
    auto& network = model->network(each.height, each.width);
    const std::vector<TapRequest> taps{{{Tap::Kind::Logits, {}, -1}, false}, {{Tap::Kind::Image, {}, -1}, true}};
    const auto images = each.images(3);
    for (const Rule& rule : kRules) {
      const auto gradient = [&](const at::Tensor& input) {
        const auto outputs = network.program(taps, rule).run(model->self(), input);
        return torch::autograd::grad({outputs[0].select(1, 1).sum()}, {outputs[1]}).at(0);
      };
      const auto together = gradient(images);
      for (int64_t i = 0; i < 3; ++i) {
        const auto alone = images.narrow(0, i, 1);
        expect_rounded(together.narrow(0, i, 1), gradient(alone), network.program(taps, rule).operators(), alone,
                       gradient, std::string(archived) + ", " + rule.name);
      }
    }
  }
}

TEST("relevance: an operator of which a rule says nothing is refused by name") {
  for (const char* name : {"attn-lrp", "cp-lrp", "lrp"}) {
    const auto error = thrown_by([&] { apply(parse("  %y : Tensor = aten::exp(%x)\n  return (%y)"), {name}); });
    EXPECT_EQUAL(error.code(), std::string("METHOD_NOT_APPLICABLE"));
    EXPECT(error.message().find("'exp'") != std::string::npos && error.message().find(name) != std::string::npos,
           error.message());
    // Beside the way to the output it does not matter.
    apply(parse("  %e : Tensor = aten::exp(%x)\n  %y : Tensor = aten::relu(%x)\n  return (%y)"), {name});
  }
}

TEST("relevance: an unknown rule is refused by name") {
  const auto error = thrown_by([] { apply(parse("  return (%x)"), {"lpr"}); });
  EXPECT_EQUAL(error.code(), std::string("INVALID_OPTION"));
  EXPECT(error.message().find("'lpr'") != std::string::npos, error.message());
}

}  // namespace sightline::test
