#include "engine/graph/host_sizes.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Use;
using torch::jit::Value;

namespace {

bool is_number_on_device(const Value* value) {
  if (!is_tensor(value)) return false;
  const auto constant = constant_of(value);
  return constant && constant->isTensor() && constant->toTensor().defined() && constant->toTensor().dim() == 0 &&
         !constant->toTensor().is_cpu();
}

// Reads a tensor's value, and makes no tensor of it.
bool is_reader(const Node* node) {
  return is_any_of(node, {"Int", "Float", "Bool", "IntImplicit", "FloatImplicit", "ScalarImplicit", "item"});
}

class Sizes {
 public:
  void find(Block* block) {
    for (Node* node : block->nodes()) {
      for (Block* inner : node->blocks()) find(inner);
      if (node->kind() == c10::prim::NumToTensor) {
        on_host_.insert(node->output());
      } else if (computes_on_host(node)) {
        on_host_.insert(node->output());
        arithmetic_.push_back(node);
      }
    }
  }

  // What meets a tensor of the device as well stays there, and so does all that is made of it.
  void keep_what_ends_as_number() {
    bool changed = true;
    while (changed) {
      changed = false;
      for (auto it = arithmetic_.begin(); it != arithmetic_.end();) {
        const auto& uses = (*it)->output()->uses();
        const bool is_read_only = std::all_of(uses.begin(), uses.end(), [&](const Use& use) {
          return is_reader(use.user) ||
                 std::find(arithmetic_.begin(), arithmetic_.end(), use.user) != arithmetic_.end();
        });
        if (is_read_only && computes_on_host(*it)) {
          ++it;
          continue;
        }
        on_host_.erase((*it)->output());
        it = arithmetic_.erase(it);
        changed = true;
      }
    }
  }

  void move_constants() {
    for (Node* node : arithmetic_) {
      for (size_t i = 0; i < node->inputs().size(); ++i) {
        if (!is_number_on_device(node->input(i))) continue;
        const torch::jit::WithInsertPoint point(node);
        node->replaceInput(i, node->owningGraph()->insertConstant(constant_of(node->input(i))->toTensor().cpu()));
      }
    }
  }

 private:
  // Of tensors it reads sizes and constant numbers alone, and nothing says on which device its result is to lie.
  bool computes_on_host(const Node* node) const {
    if (!node->kind().is_aten() || node->outputs().size() != 1 || !is_tensor(node->output()) || is_reader(node)) {
      return false;
    }
    bool reads_size = false;
    for (const Value* input : node->inputs()) {
      if (input->type()->kind() == c10::TypeKind::DeviceObjType) return false;
      // A list may hold tensors.
      if (input->type()->kind() == c10::TypeKind::ListType && constant_of(input) == std::nullopt) return false;
      if (!is_tensor(input)) continue;
      const bool is_size = on_host_.count(input) != 0;
      if (!is_size && !is_number_on_device(input)) return false;
      reads_size = reads_size || is_size;
    }
    return reads_size;
  }

  std::unordered_set<const Value*> on_host_;
  std::vector<Node*> arithmetic_;
};

}  // namespace

void keep_sizes_on_host(Graph& graph) {
  Sizes sizes;
  sizes.find(graph.block());
  sizes.keep_what_ends_as_number();
  sizes.move_constants();
}

}  // namespace sightline
