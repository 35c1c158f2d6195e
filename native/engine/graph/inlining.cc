#include "engine/graph/inlining.h"

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/scope.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <string>
#include <vector>

#include "engine/errors.h"
#include "engine/graph/fused_attention.h"
#include "engine/graph/graph_ops.h"
#include "engine/graph/host_sizes.h"
#include "engine/graph/no_grad_blocks.h"

namespace sightline {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::GraphFunction;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

std::string join(const std::string& prefix, const std::string& name) {
  if (prefix.empty()) return name;
  return name.empty() ? prefix : prefix + "." + name;
}

// The attribute chain from the graph's `self` to a module, such as "blocks.0.attn". The class of a call stack entry
// keeps only the last attribute of `self.blocks.0`, so the chain is read here, before it is inlined away.
std::optional<std::string> receiver_path(const Value* receiver, const Graph& graph) {
  std::string path;
  const Value* value = receiver;
  while (value->node()->kind() == c10::prim::GetAttr) {
    const auto& name = value->node()->s(c10::attr::name);
    path = path.empty() ? name : name + "." + path;
    value = value->node()->input(0);
  }
  if (graph.inputs().empty() || value != graph.inputs()[0]) return std::nullopt;
  return path;
}

// Traced modules call the same submodule again through `forward1`, `forward2`, and so on.
bool is_forward(const std::string& method) {
  if (method.rfind("forward", 0) != 0) return false;
  return method.find_first_not_of("0123456789", 7) == std::string::npos;
}

Value* insert_mark(Graph& graph, Value* value, const std::string& path, int64_t element) {
  return graph.insert(mark_symbol(), {value, graph.insertConstant(path), graph.insertConstant(element)});
}

// Marks what `call` returns, before the call is inlined. Of a tuple every tensor is marked.
void mark_output(Graph& graph, Node* call, const std::string& path) {
  Value* output = call->output();
  WithInsertPoint point(call->next());
  if (is_tensor(output)) {
    Value* marked = insert_mark(graph, output, path, -1);
    output->replaceAllUsesAfterNodeWith(marked->node(), marked);
    return;
  }
  const auto tuple = output->type()->cast<c10::TupleType>();
  if (!tuple) return;
  Node* unpack = graph.insertNode(graph.createTupleUnpack(output));
  std::vector<Value*> elements;
  for (size_t i = 0; i < unpack->outputs().size(); ++i) {
    Value* element = unpack->outputs()[i];
    if (is_tensor(element)) element = insert_mark(graph, element, path, static_cast<int64_t>(i));
    elements.push_back(element);
  }
  // Only named tuples carry a schema, and only those may be passed on.
  Node* pack = graph.insertNode(graph.createTuple(elements, tuple->schema() ? tuple : nullptr));
  output->replaceAllUsesAfterNodeWith(pack, pack->output());
}

std::shared_ptr<Graph> deep_inline(GraphFunction& function, const std::string& prefix);

void inline_block(Block* block, Graph& graph, const std::string& prefix) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) inline_block(inner, graph, prefix);
    if (node->kind() == c10::prim::CallMethod) {
      const auto type = node->input(0)->type()->cast<c10::ClassType>();
      const std::string method = node->s(c10::attr::name);
      if (!type) {
        throw EngineError(
            "UNSUPPORTED_MODEL",
            "The archive calls '" + method + "' through an interface type; export it again with torch.jit.trace.");
      }
      GraphFunction* callee = torch::jit::tryToGraphFunction(type->getMethod(method));
      if (callee == nullptr) continue;
      const auto path = receiver_path(node->input(0), graph);
      const std::string callee_prefix = path ? join(prefix, *path) : prefix;
      if (path && !path->empty() && is_forward(method)) mark_output(graph, node, callee_prefix);
      const auto body = deep_inline(*callee, callee_prefix);
      torch::jit::inlineCallTo(node, callee, body.get());
    } else if (node->kind() == c10::prim::CallFunction) {
      const auto type = node->input(0)->type()->cast<c10::FunctionType>();
      GraphFunction* callee = type ? torch::jit::tryToGraphFunction(*type->function()) : nullptr;
      if (callee == nullptr) continue;
      const auto body = deep_inline(*callee, prefix);
      node->removeInput(0);
      torch::jit::inlineCallTo(node, callee, body.get());
    } else if (!prefix.empty() && node->kind().is_aten() && node->scopeName().empty()) {
      // Which module's code an operator stands in: it names attention sites. Scopes survive cloning and tracing.
      node->setScope(c10::make_intrusive<torch::jit::Scope>()->push(c10::Symbol::scope(prefix)));
    }
  }
}

std::shared_ptr<Graph> deep_inline(GraphFunction& function, const std::string& prefix) {
  // The raw graph: optimized_graph() is already inlined, without the paths.
  auto graph = function.graph()->copy();
  inline_block(graph->block(), *graph, prefix);
  return graph;
}

// Timm's `attn_mask=None`, Hugging Face's flags: optional trailing inputs take their defaults. The interpreter asserts
// on missing inputs instead of filling them in.
void bind_defaults(Graph& graph, const c10::FunctionSchema& schema) {
  if (graph.inputs().size() < 2 || !is_tensor(graph.inputs()[1])) {
    throw EngineError("UNSUPPORTED_MODEL",
                      "The model's forward does not take one image tensor; export a module whose forward(x) takes "
                      "[N, 3, H, W].");
  }
  WithInsertPoint point(*graph.nodes().begin());
  while (graph.inputs().size() > 2) {
    const size_t last = graph.inputs().size() - 1;
    const auto& argument = schema.arguments()[last];
    std::optional<c10::IValue> value = argument.default_value();
    if (!value && argument.type()->kind() == c10::TypeKind::OptionalType) value = c10::IValue();
    if (!value) {
      throw EngineError("UNSUPPORTED_MODEL", "The model's forward wants another input, '" + argument.name() +
                                                 "'; export a wrapper whose forward(x) takes one image tensor.");
    }
    graph.inputs()[last]->replaceAllUsesWith(graph.insertConstant(*value));
    graph.eraseInput(last);
  }
}

// A traced archive remembers the device it was traced on wherever it makes tensors.
void move_device_constants(Block* block, Graph& graph, at::Device device) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) move_device_constants(inner, graph, device);
    if (node->kind() != c10::prim::Constant || node->output()->type()->kind() != c10::TypeKind::DeviceObjType) continue;
    WithInsertPoint point(node);
    node->output()->replaceAllUsesWith(graph.insertConstant(device));
    node->destroy();
  }
}

// A trace made in training mode has that written into its operators, where module.eval() does not reach. Batch norm would
// then mix the images of a batch, and dropout would be random.
bool set_to_inference(Block* block, Graph& graph) {
  bool changed = false;
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) changed = set_to_inference(inner, graph) || changed;
    size_t flag = 0;
    if (is_aten(node, "batch_norm") && constant_of(node->input(3)) == std::nullopt) flag = 5;
    if (is_any_of(node, {"dropout", "dropout_", "feature_dropout", "feature_dropout_", "alpha_dropout"})) flag = 2;
    if (flag == 0 || node->inputs().size() <= flag) continue;
    const auto training = constant_of(node->input(flag));
    if (!training || !training->isBool() || !training->toBool()) continue;
    WithInsertPoint point(node);
    node->replaceInput(flag, graph.insertConstant(false));
    // A share that is worked out on the way, as nn.MultiheadAttention's, is 0 in inference: its code says "in training" for good.
    const auto share = flag == 2 ? constant_of(node->input(1)) : std::nullopt;
    const bool is_computed = flag == 2 && !share && node->input(1)->node()->kind() != c10::prim::GetAttr;
    changed = changed || !(is_computed || (share && share->isDouble() && share->toDouble() == 0));
  }
  return changed;
}

// A trace writes Python's numbers as tensors without axes, in float64. Read again, they would make float64 of all that is
// computed from whole numbers; a number does not.
void take_for_numbers(Block* block) {
  for (Node* node : block->nodes()) {
    for (Block* inner : node->blocks()) take_for_numbers(inner);
    if (node->kind() != c10::prim::Constant || !node->hasAttribute(c10::attr::value)) continue;
    if (node->kindOf(c10::attr::value) != torch::jit::AttributeKind::t) continue;
    auto number = node->t(c10::attr::value);
    if (number.dim() != 0 || number.scalar_type() != at::kDouble) continue;
    number = number.clone();
    number.unsafeGetTensorImpl()->set_wrapped_number(true);
    node->t_(c10::attr::value, std::move(number));
  }
}

// A model that prints has nobody to print to: standard output is the caller's.
void remove_prints(Block* block) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) remove_prints(inner);
    if (node->kind() == c10::prim::Print) node->destroy();
  }
}

}  // namespace

InlinedForward inline_forward(const torch::jit::Module& module, at::Device device) {
  const auto method = module.find_method("forward");
  if (!method) {
    throw EngineError("UNSUPPORTED_MODEL", "The archive has no forward method; export a module, not its weights.");
  }
  GraphFunction* forward = torch::jit::tryToGraphFunction(method->function());
  if (forward == nullptr) {
    throw EngineError("UNSUPPORTED_MODEL", "The archive's forward is not TorchScript; export it with torch.jit.trace.");
  }
  auto inlined = deep_inline(*forward, "");
  bind_defaults(*inlined, method->function().getSchema());
  move_device_constants(inlined->block(), *inlined, device);
  keep_sizes_on_host(*inlined);
  take_for_numbers(inlined->block());
  remove_prints(inlined->block());
  open_no_grad_blocks(*inlined);
  // Before tracing: the fused kernel has no derivative, so it fails in a run with gradients on.
  open_native_multi_head_attention(*inlined);
  const bool was_training = set_to_inference(inlined->block(), *inlined);
  return {std::move(inlined), was_training};
}

}  // namespace sightline
