#include "engine/programs/leaves.h"

#include <unordered_map>
#include <unordered_set>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

namespace {

bool depends_on(const Value* value, const std::unordered_set<const Value*>& sources,
                std::unordered_map<const Value*, bool>& known) {
  // Iterative: a recursion as deep as a 24-block ViT's graph would need a large stack.
  std::vector<const Value*> stack{value};
  while (!stack.empty()) {
    const Value* current = stack.back();
    if (known.count(current) != 0) {
      stack.pop_back();
      continue;
    }
    bool ready = true, depends = false;
    for (const Value* input : current->node()->inputs()) {
      if (sources.count(input) != 0) {
        depends = true;
        continue;
      }
      const auto found = known.find(input);
      if (found == known.end()) {
        stack.push_back(input);
        ready = false;
      } else {
        depends = depends || found->second;
      }
    }
    if (!ready && !depends) continue;
    known[current] = depends;
    if (stack.back() == current) stack.pop_back();
  }
  return known[value];
}

// Makes `value` the leaf that gradients are taken with respect to: nothing before it is recorded.
Value* insert_leaf(Graph& graph, Value* value) {
  Node* node = graph.create(leaf_symbol(), {value});
  node->output()->setType(c10::TensorType::get());
  if (value->node()->kind() == c10::prim::Param) {
    graph.prependNode(node);
  } else {
    node->insertAfter(value->node());
  }
  value->replaceAllUsesAfterNodeWith(node, node->output());
  return node->output();
}

}  // namespace

std::vector<Value*> place_leaves(Graph& graph, const std::vector<TapRequest>& requests, std::vector<Value*>& taps) {
  std::unordered_set<const Value*> sources;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (requests[i].with_gradient) sources.insert(taps[i]);
  }
  std::unordered_map<const Value*, bool> known;
  // Equal values share their leaf.
  std::unordered_map<Value*, Value*> leaves;
  std::vector<Value*> frontier;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (!requests[i].with_gradient || leaves.count(taps[i]) != 0) continue;
    if (!depends_on(taps[i], sources, known)) {
      leaves.emplace(taps[i], nullptr);
      frontier.push_back(taps[i]);
    }
  }
  std::vector<Value*> seeds;
  for (Value* value : frontier) {
    leaves[value] = insert_leaf(graph, value);
    seeds.push_back(leaves[value]);
  }
  for (Value*& tap : taps) {
    const auto found = leaves.find(tap);
    if (found != leaves.end()) tap = found->second;
  }
  return seeds;
}

}  // namespace sightline
