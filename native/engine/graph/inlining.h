// A module's forward as one graph without calls, ready to be run once.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <memory>

namespace sightline {

struct InlinedForward {
  std::shared_ptr<torch::jit::Graph> graph;
  bool was_training;  // traced in training mode, and set to inference here
};

// Inlines every call and marks each module's output by its path; optional inputs behind the image take their defaults. Tensors
// are made on `device`, and nothing is printed. Throws EngineError UNSUPPORTED_MODEL.
InlinedForward inline_forward(const torch::jit::Module& module, at::Device device);

}  // namespace sightline
