// A graph that is ready to run, with just the asked-for values as outputs.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace sightline {

// A straight graph, run by the plain interpreter: the profiling executor drops gradients of tapped values from its second
// run on.
class GraphCode {
 public:
  explicit GraphCode(std::shared_ptr<torch::jit::Graph> graph);
  std::vector<at::Tensor> run(std::vector<c10::IValue> inputs, bool records_gradients) const;
  // Operators that one run executes.
  int64_t operators() const { return operators_; }

 private:
  std::shared_ptr<torch::jit::Graph> graph_;
  torch::jit::Code code_;
  int64_t operators_;
};

// The graph with just the asked-for values as outputs.
class Program {
 public:
  // `is_widened`: whether it computes in float32 though the model does not.
  Program(std::shared_ptr<torch::jit::Graph> graph, bool records_gradients, int64_t activation_bytes, bool is_widened);
  Program(std::shared_ptr<torch::jit::Graph> before, std::shared_ptr<torch::jit::Graph> after, bool records_gradients,
          int64_t activation_bytes);

  // Runs on `images` [N, 3, H, W]; returns one tensor per request, those with gradients attached to the autograd graph.
  // `keeps_graph`: whether gradients may be taken with respect to what `images` was computed from.
  std::vector<at::Tensor> run(const c10::IValue& self, const at::Tensor& images, bool keeps_graph = false) const;

  // A program with replaced values: what does not depend on them.
  std::vector<at::Tensor> run_before(const c10::IValue& self, const at::Tensor& images) const;
  // The rest, for `values` of N times as many rows as `before` has images; in float32 whatever the model's dtype.
  std::vector<at::Tensor> run_after(const c10::IValue& self, const std::vector<at::Tensor>& before, int64_t images,
                                    const std::vector<at::Tensor>& values, bool keeps_graph) const;

  int64_t operators() const { return code_.operators(); }
  int64_t operators_before() const { return before_ ? before_->operators() : 0; }
  // What one image takes while it runs: all values where gradients are recorded, else the most that live at once.
  int64_t activation_bytes() const { return activation_bytes_; }

 private:
  std::optional<GraphCode> before_;
  GraphCode code_;
  bool records_gradients_;
  int64_t activation_bytes_;
  bool is_widened_ = false;
};

}  // namespace sightline
