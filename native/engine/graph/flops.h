// What a run costs in arithmetic, by the sizes that tracing recorded: nothing is measured here.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <unordered_map>
#include <vector>

#include "engine/graph/attention_forms.h"

namespace sightline {

// Floating-point operations of a straight graph on one image: those of convolutions, linear layers, matrix products and
// attention, a multiplication and its addition counted as two. Norms, activations and sums are left out, as is usual.
class FlopCount {
 public:
  explicit FlopCount(const torch::jit::Graph& graph);

  // None where there is such an operator whose sizes or weights cannot be read: quantised ones, and `einsum` of more than
  // two tensors or with an ellipsis.
  std::optional<int64_t> total() const;
  // Of the operators that read `value`, directly or not: what a run again from there takes.
  std::optional<int64_t> after(const torch::jit::Value* value) const;
  // Bytes of all values that such operators make.
  int64_t bytes_after(const torch::jit::Value* value) const;
  // Of the operators that read a site's probabilities.
  std::optional<int64_t> after_probabilities(const AttentionSite& site) const;

 private:
  struct Cost {
    int64_t flops = 0, bytes = 0;
  };
  struct Operator {
    std::vector<size_t> reads;  // places of the operators whose values it reads
    Cost cost;
  };
  Cost cost_after(const torch::jit::Value* value) const;

  std::vector<Operator> operators_;  // in the order of execution
  std::unordered_map<const torch::jit::Node*, size_t> places_;
  bool is_complete_ = true;
};

// Numbers in the model's parameters. A frozen archive has none: there, those in its floating-point constants, but for the
// statistics of batch norms. None where weights are packed for quantised operators.
std::optional<int64_t> count_parameters(const torch::jit::Module& module, torch::jit::Graph& original,
                                        bool is_quantized);

}  // namespace sightline
