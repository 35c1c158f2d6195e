// From a loaded module to one straight graph: no calls, no branches, no mutation, every module's output by name.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/graph/marks.h"
#include "engine/graph/outputs.h"

namespace sightline {

// A straight graph for one input size. Its only output so far: the answer's logits.
struct StraightGraph {
  std::shared_ptr<torch::jit::Graph> graph;
  torch::jit::Value* image = nullptr;
  // The output that is explained, as the model returns it, and what its scores are made from.
  torch::jit::Value* returned = nullptr;
  Answer answer;
  std::string output;
  std::vector<OutputInfo> outputs;
  // Module outputs in the order of execution. A module that is called again gets `path:1`, `path:2`, and so on.
  std::vector<NamedValue> nodes;
  // False for frozen archives, whose nodes get structural names (`conv[3]`) since their modules are gone.
  bool has_module_names = true;
  bool is_quantized = false;
  bool was_training = false;
  // The inlined graph before it was straightened: what the archive itself would run.
  std::shared_ptr<torch::jit::Graph> original;
};

// What is put into the graph that is run first, and taken out of the straight one: guards that end a run without end.
struct FirstRunGuard {
  std::function<void(torch::jit::Graph&)> insert, remove;
};

// Inlines, re-traces with gradients on, and functionalises the module's forward for `example` [1, channels, H, W], which runs
// the model once. Throws EngineError UNSUPPORTED_MODEL, INVALID_INPUT or INVALID_OPTION.
StraightGraph straighten(const torch::jit::Module& module, const at::Tensor& example, const OutputChoice& choice = {},
                         const FirstRunGuard& guard = {});

}  // namespace sightline
