#include "engine/cancel_points.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/library.h>

#include <unordered_set>

#include "engine/errors.h"

namespace sightline {

namespace {

using torch::jit::Node;

thread_local const std::function<bool()>* asked = nullptr;

void cancel_point() {
  if (asked != nullptr && (*asked)()) throw EngineError("ABORTED", "The request was aborted.");
}

c10::Symbol cancel_point_symbol() { return c10::Symbol::fromQualString("sightline::cancel_point"); }

class CancelHook : public torch::autograd::FunctionPreHook {
 public:
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& gradients) override {
    cancel_point();
    return gradients;
  }
};

bool has_cancel_hook(const torch::autograd::Node& node) {
  for (const auto& hook : node.pre_hooks()) {
    if (dynamic_cast<const CancelHook*>(hook.get()) != nullptr) return true;
  }
  return false;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sightline, library) {
  // As in graph_ops.cc: another copy of the package may have been here before. Its points then know nothing of this copy's
  // requests, which end at the next step instead.
  if (c10::Dispatcher::singleton().findSchema({"sightline::cancel_point", ""})) return;
  library.def("cancel_point() -> ()", &cancel_point);
}

CancelScope::CancelScope(const std::function<bool()>& cancelled) : outer_(asked) { asked = &cancelled; }

CancelScope::~CancelScope() { asked = outer_; }

void insert_cancel_points(torch::jit::Graph& graph) {
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = *it++;
    // Of all others (constants, parameters, lists) many take no time at all.
    if (node->kind().is_prim()) continue;
    graph.create(cancel_point_symbol(), 0)->insertBefore(node);
  }
}

void add_cancel_points(const at::Tensor& score) {
  std::vector<torch::autograd::Node*> waiting;
  std::unordered_set<torch::autograd::Node*> seen;
  const auto visit = [&](torch::autograd::Node* node) {
    // A hooked node was visited by an earlier pass over the same run, and so was all that lies before it.
    if (node == nullptr || !seen.insert(node).second || has_cancel_hook(*node)) return;
    waiting.push_back(node);
  };
  visit(score.grad_fn().get());
  while (!waiting.empty()) {
    auto* node = waiting.back();
    waiting.pop_back();
    node->add_pre_hook(std::make_unique<CancelHook>());
    for (const auto& edge : node->next_edges()) visit(edge.function.get());
  }
}

}  // namespace sightline
