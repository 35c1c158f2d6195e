#include "engine/graph/no_grad_blocks.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "engine/errors.h"
#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Use;
using torch::jit::Value;

namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw EngineError("UNSUPPORTED_MODEL",
                    "The model's forward " + what + "; export it with torch.jit.trace, in which none is left.");
}

bool is_no_grad(const Value* value) {
  const auto type = value->type()->cast<c10::ClassType>();
  return type && type->name() && type->name()->qualifiedName() == "__torch__.torch.autograd.grad_mode.no_grad";
}

Node* exit_of(Node* enter) {
  for (Node* node = enter->next(); node != enter->owningBlock()->return_node(); node = node->next()) {
    if (node->kind() == c10::prim::Exit && node->input(0) == enter->input(0)) return node;
  }
  refuse("enters a torch.no_grad() block that it does not leave");
}

// The operator that made the memory a value lies in. Views, and what writes in place, say in their schema that they return
// memory of their first input.
const Node* owner_of(const Value* value) {
  const Node* node = value->node();
  while (true) {
    const auto* schema = node->maybeSchema();
    const bool is_alias = schema != nullptr && !schema->returns().empty() &&
                          schema->returns()[0].alias_info() != nullptr && !node->inputs().empty();
    if (!is_alias && node->kind() != c10::prim::ListUnpack) return node;
    node = node->input(0)->node();
  }
}

// What was made before the block keeps its gradient where PyTorch writes into it without recording that.
void check_writes(const Node* node, const Node* enter) {
  const auto* schema = node->maybeSchema();
  if (schema != nullptr && schema->is_mutable() && node->inputs().size() > 0) {
    const Node* made = owner_of(node->input(0));
    if (made->kind() == c10::prim::Param || made->isBefore(enter))
      refuse("changes a tensor in place in torch.no_grad()");
  }
  for (const Block* block : node->blocks()) {
    for (const Node* inner : block->nodes()) check_writes(inner, enter);
  }
}

void detach_outputs(Graph& graph, Node* node, Node* exit) {
  for (Value* output : node->outputs()) {
    const auto& uses = output->uses();
    const bool is_used_after =
        std::any_of(uses.begin(), uses.end(), [&](const Use& use) { return use.user->isAfter(exit); });
    if (!is_used_after) continue;
    if (is_tensor(output)) {
      const torch::jit::WithInsertPoint point(exit->next());
      Value* detached = graph.insert(c10::Symbol::fromQualString("aten::detach"), {output});
      detached->node()->setScope(node->scope());
      output->replaceAllUsesAfterNodeWith(detached->node(), detached);
    } else if (output->type()->kind() == c10::TypeKind::ListType ||
               output->type()->kind() == c10::TypeKind::TupleType) {
      refuse("hands several tensors out of torch.no_grad() at once");
    }
  }
}

// The object of the block, and what its constructor sets.
void destroy_object(Value* object) {
  Node* created = object->node();
  if (created->kind() != c10::prim::CreateObject) return;
  for (const Use& use : std::vector<Use>(object->uses())) {
    if (use.user->kind() != c10::prim::SetAttr) refuse("uses the object of torch.no_grad()");
    use.user->destroy();
  }
  created->destroy();
}

void open_blocks(Block* block, Graph& graph) {
  std::vector<Value*> objects;
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) open_blocks(inner, graph);
    if (node->kind() != c10::prim::Enter || !is_no_grad(node->input(0))) continue;
    Node* const exit = exit_of(node);
    for (Node* each = node->next(); each != exit; each = each->next()) {
      check_writes(each, node);
      detach_outputs(graph, each, exit);
    }
    objects.push_back(node->input(0));
    // What stands next may be the exit.
    if (*it == exit) ++it;
    for (Value* output : exit->outputs()) {
      if (output->hasUses()) refuse("uses what the end of torch.no_grad() returns");
    }
    exit->destroy();
    node->destroy();
  }
  for (Value* object : objects) destroy_object(object);
}

void check_none_left(const Block* block) {
  for (const Node* node : block->nodes()) {
    for (const Block* inner : node->blocks()) check_none_left(inner);
    if (node->kind() == c10::prim::Enter || node->kind() == c10::prim::Exit || is_aten(node, "set_grad_enabled"))
      refuse("switches gradients on or off");
  }
}

}  // namespace

void open_no_grad_blocks(Graph& graph) {
  open_blocks(graph.block(), graph);
  check_none_left(graph.block());
}

}  // namespace sightline
