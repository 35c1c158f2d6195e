// One run of a graph, written down as a graph without branches and loops.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <memory>

namespace sightline {

// Runs `graph`, which has no calls, on `stack` (an argument for each of its inputs) and returns the operators in the order in
// which they ran, their outputs with the sizes that they had: of a branch the one that was taken, of a loop each turn. Inputs and
// outputs are those of `graph`. LibTorch's own TraceGraph gives every turn of a loop the first turn's inputs.
std::shared_ptr<torch::jit::Graph> write_down_one_run(const std::shared_ptr<torch::jit::Graph>& graph, torch::jit::Stack& stack);

}  // namespace sightline
