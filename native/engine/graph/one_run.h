// One run of a graph, written down as a graph without branches and loops.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

namespace sightline {

// Numbers for one tensor of the run: views have a number of their own and share the memory's.
struct TensorIdentity {
  int64_t tensor;
  int64_t memory;
};

// By Value::unique(), which no other value of the graph ever gets: the tensors that a value was in the run. A list has several.
using TensorIdentities = std::unordered_map<size_t, std::vector<TensorIdentity>>;

struct OneRun {
  std::shared_ptr<torch::jit::Graph> graph;
  TensorIdentities identities;
};

// Runs `graph`, which has no calls, on `stack` (an argument for each of its inputs) and returns the operators in the order in
// which they ran, their outputs with the sizes that they had: of a branch the one that was taken, of a loop each turn. Inputs and
// outputs are those of `graph`. LibTorch's own TraceGraph gives every turn of a loop the first turn's inputs.
OneRun write_down_one_run(const std::shared_ptr<torch::jit::Graph>& graph, torch::jit::Stack& stack);

}  // namespace sightline
