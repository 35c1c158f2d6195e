// Relevance rules: values stay, gradients become what each rule says.
#include <torch/csrc/jit/ir/irparser.h>

#include "archives.h"
#include "engine/errors.h"
#include "engine/graph_ops.h"
#include "engine/relevance.h"
#include "engine/straighten.h"
#include "runner.h"

namespace sightline::test {

namespace {

using torch::jit::Graph;
using torch::jit::Value;

// A graph with a rule applied; its outputs are those of the graph given.
struct Ruled {
  std::shared_ptr<Graph> graph;
  Replacements replaced;

  std::vector<at::Tensor> run(const c10::IValue& self, const at::Tensor& images) const {
    at::AutoGradMode with_gradients(true);
    torch::jit::Stack stack{self, images};
    const torch::jit::Code code(graph, "ruled");
    torch::jit::InterpreterState(code).run(stack);
    std::vector<at::Tensor> outputs;
    for (auto& value : stack) outputs.push_back(value.toTensor());
    return outputs;
  }
};

Ruled apply(const std::shared_ptr<Graph>& graph, const Rule& rule) {
  Ruled ruled{graph->copy(), {}};
  ruled.replaced = apply_rule(*ruled.graph, rule);
  ruled.graph->lint();
  return ruled;
}

// graph(%self, %x : Tensor): the body must end in `return`.
std::shared_ptr<Graph> parse(const std::string& body) {
  auto graph = std::make_shared<Graph>();
  torch::jit::parseIR("graph(%self : int, %x : Tensor):\n" + body, graph.get());
  return graph;
}

at::Tensor gradient_at(const Ruled& ruled, const at::Tensor& x, const at::Tensor& into) {
  const auto leaf = x.clone().requires_grad_(true);
  const auto outputs = ruled.run(0, leaf);
  return torch::autograd::grad({outputs[0]}, {leaf}, {into}).at(0);
}

bool holds(const at::Tensor& found, const std::vector<double>& expected) {
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

const std::vector<Rule> kRules{{"guided-backprop"}, {"deconvnet"}, {"attn-lrp"}, {"attn-lrp", 0.05, 0.25}, {"cp-lrp", 0.05, 0.25}, {"lrp"}};

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
    EXPECT(holds(found, std::string(name) == "deconvnet" ? std::vector<double>{-5, -5} : std::vector<double>{0, 0}), name);
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
      if (getenv("TRACE_NAMES")) fprintf(stderr, "%s %s\n", each.name.c_str(), name.c_str());
      if ((name == "guided-backprop" || name == "deconvnet") && !has_rectifier(*traced.straight.graph)) {
        EXPECT_EQUAL(thrown_by([&] { apply(traced.straight.graph, rule); }).code(), std::string("METHOD_NOT_APPLICABLE"));
        continue;
      }
      const auto found = apply(traced.straight.graph, rule).run(traced.model->self(), images.clone().requires_grad_(true));
      EXPECT_EQUAL(found.size(), expected.size(), each.name);
      for (size_t i = 0; i < found.size(); ++i) EXPECT(at::equal(found[i], expected[i]), each.name, ": ", name);
      const auto gradient = torch::autograd::grad({found[0].select(1, 1).sum()}, {found.back(), found[1]}, {}, false, false, true);
      EXPECT(gradient[1].defined() && gradient[1].isfinite().all().item<bool>(), each.name, ": ", name);
    }
  }
}

TEST("relevance: an unknown rule is refused by name") {
  const auto error = thrown_by([] { apply(parse("  return (%x)"), {"lpr"}); });
  EXPECT_EQUAL(error.code(), std::string("INVALID_OPTION"));
  EXPECT(error.message().find("'lpr'") != std::string::npos, error.message());
}

}  // namespace sightline::test
