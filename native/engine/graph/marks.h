// The names of a straight graph's values.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <string>
#include <unordered_set>
#include <vector>

namespace sightline {

struct NamedValue {
  std::string name;
  torch::jit::Value* value;
};

// Takes the marks out and returns what they named, in the order of execution, so that `path:1` is the second call. Of a tuple the
// first is named by the path, as a forward hook's user would say it, the others by `path[i]`. Of an `untrue` mark nothing is named.
std::vector<NamedValue> resolve_marks(torch::jit::Graph& graph,
                                      const std::unordered_set<const torch::jit::Node*>& untrue);

// `conv[3]`: what a frozen archive, whose module names are gone, can still say of its nodes.
std::vector<NamedValue> structural_names(torch::jit::Graph& graph);

// Dead code takes away values that no output needs (a module whose output nobody uses); their names must go as well.
void forget_dead_names(const torch::jit::Graph& graph, std::vector<NamedValue>& nodes);

}  // namespace sightline
