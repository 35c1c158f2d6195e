// Gradients: equal to autograd's own, recorded from the earliest tap only, and never of parameters.
#include <torch/csrc/autograd/functions/accumulate_grad.h>

#include "archives.h"
#include "engine/errors.h"
#include "rounding.h"
#include "runner.h"

namespace sightline::test {

namespace {

const TapRequest kLogits{{Tap::Kind::Logits, {}, -1}, false};

struct History {
  size_t nodes = 0;
  std::set<const torch::autograd::Node*> leaves;  // where gradients would be accumulated
};

// Everything that the backward pass of `output` could reach.
History history_of(const at::Tensor& output) {
  History history;
  std::set<const torch::autograd::Node*> seen;
  std::vector<const torch::autograd::Node*> open;
  if (output.grad_fn()) open.push_back(output.grad_fn().get());
  while (!open.empty()) {
    const auto* node = open.back();
    open.pop_back();
    if (!seen.insert(node).second) continue;
    ++history.nodes;
    if (node->name() == "torch::autograd::AccumulateGrad") history.leaves.insert(node);
    for (const auto& edge : node->next_edges()) {
      if (edge.function) open.push_back(edge.function.get());
    }
  }
  return history;
}

void check_parameters(const Model& model, const std::string& name) {
  const auto module = module_of(model);
  const auto check = [&](const at::Tensor& tensor) {
    EXPECT(!tensor.requires_grad(), name, ": a parameter requires a gradient");
    EXPECT(!tensor.grad().defined(), name, ": a parameter has a gradient");
  };
  for (const auto& tensor : module.parameters()) check(tensor);
  for (const auto& tensor : module.buffers()) check(tensor);
}

// Taps that gradients can be asked of: up to some 16 nodes from the first to the last, and attention that is not unsupported.
std::vector<TapRequest> differentiable_taps(const NetworkInfo& info) {
  std::vector<TapRequest> taps;
  const size_t stride = info.nodes.size() / 16 + 1;
  for (size_t i = 0; i < info.nodes.size(); i += stride)
    taps.push_back({{Tap::Kind::Node, info.nodes[i].name, -1}, true});
  taps.push_back({{Tap::Kind::Node, info.nodes.back().name, -1}, true});
  for (size_t site = 0; site < info.attention.size(); ++site) {
    if (info.attention[site].unsupported.empty())
      taps.push_back({{Tap::Kind::Attention, {}, static_cast<int64_t>(site)}, true});
  }
  return taps;
}

}  // namespace

TEST("gradients: of the image equal autograd's through the module itself, for every archive") {
  for (const auto& each : archives()) {
    if (each.is_quantised) continue;
    const auto model = each.load();
    auto& network = model->network(each.height, each.width);
    const auto images = each.images(3);
    const auto& program = network.program({kLogits, {{Tap::Kind::Image, {}, -1}, true}});
    const auto gradient = [&](const at::Tensor& input) {
      const auto outputs = program.run(model->self(), input);
      return torch::autograd::grad({outputs[0].select(1, 2).sum()}, {outputs[1]}).at(0);
    };
    const auto found = gradient(images);

    const auto leaf = images.clone().requires_grad_(true);
    at::Tensor expected;
    try {
      expected = torch::autograd::grad({forward(each, leaf).select(1, 2).sum()}, {leaf}).at(0);
    } catch (const std::exception&) {
      // The fused attention of a model traced without gradients has no derivative; the engine opens it.
      EXPECT(each.is("no-grad"), each.name);
      continue;
    }
    expect_rounded(found, expected, program.operators(), images, gradient, each.name);
    check_parameters(*model, each.name);
  }
}

TEST("gradients: parameters never require one, nor have one, after every tap was differentiated") {
  for (const auto& each : archives()) {
    if (each.is_quantised) continue;
    const auto model = each.load();
    check_parameters(*model, each.name);
    auto& network = model->network(each.height, each.width);
    for (const auto& tap : differentiable_taps(network.info())) {
      const auto outputs = network.program({kLogits, tap}).run(model->self(), each.images(2));
      EXPECT(outputs[1].requires_grad(), each.name, ": a tap with a gradient does not require it");
      if (!outputs[0].requires_grad()) continue;  // What the logits do not depend on.
      torch::autograd::grad({outputs[0].select(1, 1).sum()}, {outputs[1]}, {}, false, false, /*allow_unused=*/true);
    }
    check_parameters(*model, each.name);
  }
}

TEST("gradients: nothing before the earliest tap is recorded") {
  for (const auto& each : archives()) {
    if (each.is_quantised) continue;
    const auto model = each.load();
    auto& network = model->network(each.height, each.width);
    const auto images = each.images(2);
    const auto whole =
        history_of(network.program({kLogits, {{Tap::Kind::Image, {}, -1}, true}}).run(model->self(), images)[0]);
    size_t shortest = whole.nodes;
    for (const auto& tap : differentiable_taps(network.info())) {
      const auto outputs = network.program({kLogits, tap}).run(model->self(), images);
      // What the logits do not depend on, or the logits themselves.
      if (!outputs[0].grad_fn()) continue;
      // The tap is a leaf, and the only one: neither the image nor a parameter can be reached.
      EXPECT(outputs[1].is_leaf(), each.name, ": ", tap.tap.node);
      const auto history = history_of(outputs[0]);
      EXPECT_EQUAL(history.leaves.size(), size_t{1}, each.name, ": ", tap.tap.node);
      const auto own = torch::autograd::impl::try_get_grad_accumulator(outputs[1]);
      EXPECT(own && history.leaves.count(own.get()) == 1, each.name, ": ", tap.tap.node, " is not what is reached");
      EXPECT(history.nodes <= whole.nodes, each.name, ": ", tap.tap.node, " records ", history.nodes, " of ",
             whole.nodes);
      shortest = std::min(shortest, history.nodes);
    }
    EXPECT(shortest <= whole.nodes / 2, each.name, ": the latest tap records ", shortest, " of ", whole.nodes);
    EXPECT(!images.requires_grad(), each.name);
  }
}

TEST("gradients: of an early and a late tap together both flow, from one leaf") {
  const auto& each = archive("timm-vit-fused-traced");
  const auto model = each.load();
  auto& network = model->network(each.height, each.width);
  const TapRequest early{{Tap::Kind::Attention, {}, 0}, true}, late{{Tap::Kind::Attention, {}, 1}, true};
  const auto images = each.images(2);
  const auto gradients = [&](const std::vector<TapRequest>& taps, const at::Tensor& input) {
    auto requests = taps;
    requests.insert(requests.begin(), kLogits);
    const auto outputs = network.program(requests).run(model->self(), input);
    return torch::autograd::grad({outputs[0].select(1, 3).sum()}, {outputs.begin() + 1, outputs.end()});
  };
  const auto together = gradients({early, late}, images);
  const auto operators = network.program({kLogits, early, late}).operators();
  const auto of = [&](const TapRequest& tap) {
    return [&gradients, tap](const at::Tensor& input) { return gradients({tap}, input)[0]; };
  };
  expect_rounded(together[0], of(early)(images), operators, images, of(early), "the early tap");
  expect_rounded(together[1], of(late)(images), operators, images, of(late), "the late tap");
  EXPECT(together[0].abs().max().item<double>() > 0);
}

TEST("gradients: none are recorded when none are asked for") {
  const auto& each = archive("timm-resnet-traced");
  const auto model = each.load();
  auto& network = model->network(each.height, each.width);
  const auto outputs = network.program({kLogits, {{Tap::Kind::Node, "layer1", -1}, false}})
                           .run(model->self(), each.images(1).requires_grad_(true));
  for (const auto& output : outputs) EXPECT(!output.requires_grad() && !output.grad_fn());
}

TEST("gradients: stay defined in run after run") {
  const auto& each = archive("torchvision-vit-scripted");
  const auto model = each.load();
  auto& network = model->network(each.height, each.width);
  std::vector<TapRequest> requests{kLogits};
  for (size_t site = 0; site < network.info().attention.size(); ++site) {
    requests.push_back({{Tap::Kind::Attention, {}, static_cast<int64_t>(site)}, true});
  }
  const auto images = each.images(2);
  const auto gradient = [&](const at::Tensor& input) {
    const auto outputs = network.program(requests).run(model->self(), input);
    const auto found = torch::autograd::grad({outputs[0].select(1, 0).sum()}, {outputs.begin() + 1, outputs.end()}, {},
                                             false, false, true);
    for (const auto& each_gradient : found) EXPECT(each_gradient.defined());
    return found[0];
  };
  const auto first = gradient(images);
  for (int run = 1; run < 5; ++run) {
    // Not to the bit: where the numbers lie in memory decides which kernel adds them.
    expect_rounded(gradient(images), first, network.program(requests).operators(), images, gradient,
                   "run " + std::to_string(run));
  }
}

}  // namespace sightline::test
