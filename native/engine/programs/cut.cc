#include "engine/programs/cut.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

std::unordered_set<const Value*> values_after(Graph& graph, std::unordered_set<const Value*> sources) {
  for (const Node* node : graph.nodes()) {
    for (const Value* input : node->inputs()) {
      if (sources.count(input) == 0) continue;
      sources.insert(node->outputs().begin(), node->outputs().end());
      break;
    }
  }
  return sources;
}

void set_outputs(Graph& graph, const std::vector<Value*>& values) {
  while (!graph.outputs().empty()) graph.eraseOutput(graph.outputs().size() - 1);
  for (Value* value : values) graph.registerOutput(value);
  torch::jit::EliminateDeadCode(graph.block());
}

std::vector<Value*> values_crossing(Graph& graph, std::unordered_set<const Value*>& after,
                                    const std::vector<Value*>& taps) {
  const auto of_image = values_after(graph, {graph.inputs()[1]});
  std::vector<Value*> crossing;
  std::unordered_set<const Value*> crosses;
  std::vector<Value*> wanted(taps);
  for (Node* node : graph.nodes()) {
    if (node->outputs().empty() || after.count(node->outputs()[0]) == 0) continue;
    wanted.insert(wanted.end(), node->inputs().begin(), node->inputs().end());
  }
  while (!wanted.empty()) {
    Value* value = wanted.back();
    wanted.pop_back();
    Node* source = value->node();
    if (after.count(value) != 0 || crosses.count(value) != 0 || source->kind() == c10::prim::Constant) continue;
    if (value == graph.inputs()[0]) continue;
    const auto sizes = recorded_sizes(value);
    const bool is_number = source->kind() == c10::prim::NumToTensor || (sizes && sizes->empty());
    if (is_tensor(value) && !is_number && of_image.count(value) != 0) {
      crosses.insert(value);
      crossing.push_back(value);
      continue;
    }
    after.insert(source->outputs().begin(), source->outputs().end());
    wanted.insert(wanted.end(), source->inputs().begin(), source->inputs().end());
  }
  return crossing;
}

std::shared_ptr<Graph> cut(const std::shared_ptr<Graph>& graph, std::vector<Value*>& taps,
                           const std::vector<Value*>& seeds) {
  std::unordered_set<const Value*> starts(graph->inputs().begin() + 2, graph->inputs().end());
  starts.insert(seeds.begin(), seeds.end());
  auto after = values_after(*graph, starts);
  const auto crossing = values_crossing(*graph, after, taps);

  for (Value* value : crossing) graph->registerOutput(value);
  auto before = graph->copy();
  const size_t first = before->outputs().size() - crossing.size();
  set_outputs(*before, {before->outputs().begin() + static_cast<std::ptrdiff_t>(first), before->outputs().end()});
  // What fills a tensor in place is kept unless it is known that nobody reads the tensor, such as the mask of a shifted window behind
  // the cut. To know it takes longer.
  const auto given = before->inputs().slice(2);
  if (std::any_of(given.begin(), given.end(), [](const Value* input) { return input->hasUses(); }))
    torch::jit::EliminateDeadCode(before);
  while (before->inputs().size() > 2) before->eraseInput(before->inputs().size() - 1);
  for (size_t i = 0; i < crossing.size(); ++i) {
    Value* input = graph->addInput()->setType(c10::TensorType::get());
    crossing[i]->replaceAllUsesWith(input);
    std::replace(taps.begin(), taps.end(), crossing[i], input);
  }
  set_outputs(*graph, taps);
  if (graph->inputs()[1]->hasUses()) torch::jit::EliminateDeadCode(graph);
  // Code with an effect that asks for the image's device or sizes, such as ConViT's table of positions, stays in either part.
  if (graph->inputs()[1]->hasUses()) {
    Value* image = graph->addInput()->setType(c10::TensorType::get());
    graph->inputs()[1]->replaceAllUsesWith(image);
    before->registerOutput(before->inputs()[1]);
  }
  graph->eraseInput(1);
  return before;
}

}  // namespace sightline
