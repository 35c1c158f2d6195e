// Cancellation within a step: a run of the model on a batch, or a backward pass, can take seconds.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/ir/ir.h>

#include <functional>

namespace sightline {

// While it lives, graphs with cancel points and backward passes with them that run on this thread ask `cancelled`, and end
// by EngineError ABORTED where it says yes. Without one they ask nobody.
class CancelScope {
 public:
  explicit CancelScope(const std::function<bool()>& cancelled);
  ~CancelScope();
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

 private:
  const std::function<bool()>* outer_;
};

// Puts sightline::cancel_point() -> () before every operator that computes. Last of all: passes over graphs do not know it.
void insert_cancel_points(torch::jit::Graph& graph);
// Has every node of the backward pass that starts at `score` ask before it runs.
void add_cancel_points(const at::Tensor& score);

}  // namespace sightline
