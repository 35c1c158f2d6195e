// What the passes of relevance.h have in common: which values matter, what kind of operator one is, and putting in others.
#pragma once

#include "engine/pch.h"

#include "engine/relevance.h"

namespace sightline {

// A straight graph while its local gradients are being rewritten.
class Rewrite {
 public:
  explicit Rewrite(torch::jit::Graph& graph);

  torch::jit::Graph& graph() const { return graph_; }
  // The nodes as they stood at first, in the order of execution, without those that were put in since.
  const std::vector<torch::jit::Node*>& nodes() const { return nodes_; }
  // Whether gradients flow from the value to the image. Never for constants, shapes, masks.
  bool is_active(const torch::jit::Value* value) const { return active_.count(value) != 0; }
  bool is_active(const torch::jit::Node* node) const;

  // Puts `sightline::NAME(inputs)` or `aten::NAME(inputs)` before `node`, or behind it.
  torch::jit::Value* before(torch::jit::Node* node, const char* name, at::ArrayRef<torch::jit::NamedValue> inputs);
  torch::jit::Value* behind(torch::jit::Node* node, const char* name, at::ArrayRef<torch::jit::NamedValue> inputs);
  // Lets `replacement`, which was computed from `value`, take its place everywhere behind itself.
  void replace(torch::jit::Value* value, torch::jit::Value* replacement);
  // Computes `node` from detached inputs, so that none of its own gradients flow.
  void detach_inputs(torch::jit::Node* node);
  // From here on gradients do not flow into the value any more; what depends on it alone is not active.
  void stop(torch::jit::Value* value);

  Replacements take_replacements() { return std::move(replacements_); }

 private:
  void find_active();

  torch::jit::Graph& graph_;
  std::vector<torch::jit::Node*> nodes_;
  std::unordered_set<const torch::jit::Value*> active_;
  std::unordered_set<const torch::jit::Value*> stopped_;
  Replacements replacements_;
};

// relu, leaky_relu, elu, gelu, silu, hardswish and so on: elementwise, zero or nearly so on one side, the identity or
// nearly so on the other, and 0 at 0.
bool is_rectifier(const torch::jit::Node* node);

// What a rule says where it has no definition.
[[noreturn]] void refuse_operator(const Rule& rule, const torch::jit::Node* node);

}  // namespace sightline
