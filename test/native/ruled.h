// Small graphs, and what a rule makes of their gradients.
#pragma once

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/ir/irparser.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/relevance/rules.h"

namespace sightline::test {

// A graph with a rule applied; its outputs are those of the graph given.
struct Ruled {
  std::shared_ptr<torch::jit::Graph> graph;
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

inline Ruled apply(const std::shared_ptr<torch::jit::Graph>& graph, const Rule& rule) {
  Ruled ruled{graph->copy(), {}};
  ruled.replaced = apply_rule(*ruled.graph, rule);
  ruled.graph->lint();
  return ruled;
}

// graph(%self, %x : Tensor), with more inputs that become constants; the body must end in `return`.
inline std::shared_ptr<torch::jit::Graph> parse(
    const std::string& body, const std::vector<std::pair<std::string, c10::IValue>>& constants = {}) {
  auto graph = std::make_shared<torch::jit::Graph>();
  std::string inputs = "graph(%self : int, %x : Tensor";
  for (const auto& [name, value] : constants)
    inputs += ", %" + name + " : " + (value.isTensor() ? "Tensor" : value.type()->str());
  torch::jit::parseIR(inputs + "):\n" + body, graph.get());
  const torch::jit::WithInsertPoint start(*graph->nodes().begin());
  for (size_t i = constants.size(); i > 0; --i) {
    graph->inputs()[i + 1]->replaceAllUsesWith(graph->insertConstant(constants[i - 1].second));
    graph->eraseInput(i + 1);
  }
  return graph;
}

inline at::Tensor gradient_at(const Ruled& ruled, const at::Tensor& x, const at::Tensor& into) {
  const auto leaf = x.clone().requires_grad_(true);
  const auto outputs = ruled.run(0, leaf);
  return torch::autograd::grad({outputs[0]}, {leaf}, {into}).at(0);
}

}  // namespace sightline::test
