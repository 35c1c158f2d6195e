#include "engine/graph/straighten.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/ir/scope.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/passes/lower_tuples.h>
#include <torch/csrc/jit/passes/remove_mutation.h>
#include <torch/csrc/jit/runtime/jit_trace.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "engine/errors.h"
#include "engine/graph/attention_forms.h"
#include "engine/graph/graph_ops.h"

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

Value* insert_mark(Graph& graph, Value* value, const std::string& path) {
  return graph.insert(mark_symbol(), {value, graph.insertConstant(path)});
}

// Marks what `call` returns, before the call is inlined. Of a tuple every tensor is marked: the first by the path, as
// a forward hook's user would say it, the others by `path[i]`.
void mark_output(Graph& graph, Node* call, const std::string& path) {
  Value* output = call->output();
  WithInsertPoint point(call->next());
  if (is_tensor(output)) {
    Value* marked = insert_mark(graph, output, path);
    output->replaceAllUsesAfterNodeWith(marked->node(), marked);
    return;
  }
  const auto tuple = output->type()->cast<c10::TupleType>();
  if (!tuple) return;
  Node* unpack = graph.insertNode(graph.createTupleUnpack(output));
  std::vector<Value*> elements;
  bool first = true;
  for (size_t i = 0; i < unpack->outputs().size(); ++i) {
    Value* element = unpack->outputs()[i];
    if (is_tensor(element)) {
      element = insert_mark(graph, element, first ? path : path + "[" + std::to_string(i) + "]");
      first = false;
    }
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
        throw EngineError("UNSUPPORTED_MODEL", "The archive calls '" + method +
                                                   "' through an interface type; export it again with torch.jit.trace.");
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
    changed = true;
  }
  return changed;
}

// Parameters and settings become constants that share the module's storage, so that passes see them and no run looks them up.
void bind_parameters(Graph& graph, const torch::jit::Module& module) {
  std::unordered_map<Value*, c10::IValue> resolved{{graph.inputs()[0], module._ivalue()}};
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = *it++;
    if (node->kind() != c10::prim::GetAttr) continue;
    const auto owner = resolved.find(node->input(0));
    if (owner == resolved.end() || !owner->second.isObject()) continue;
    const auto value = owner->second.toObject()->getAttr(node->s(c10::attr::name));
    resolved.emplace(node->output(), value);
    if (value.isObject()) continue;
    WithInsertPoint point(node);
    // Numbers and lists as well: a scripted module keeps the axes of its pooling in an attribute.
    const auto constant = torch::jit::tryInsertConstant(graph, value);
    if (constant) node->output()->replaceAllUsesWith(*constant);
  }
}

// `padding='same'` and `'valid'` as numbers, which is what all that reads convolutions knows. An even kernel pads one more at the end.
void spell_out_padding(Graph& graph, std::vector<NamedValue>& nodes) {
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = *it++;
    if (!is_aten(node, "_convolution_mode") && !(is_aten(node, "conv2d") && node->input(4)->type()->kind() == c10::TypeKind::StringType)) continue;
    const auto weight = constant_of(node->input(1)), padding = constant_of(node->input(4)), dilation = constant_of(node->input(5));
    if (!weight || !weight->isTensor() || weight->toTensor().dim() != 4 || !padding || !padding->isString() || !dilation || !dilation->isIntList()) continue;
    std::vector<int64_t> before, uneven;
    const auto dilations = dilation->toIntVector();
    for (const size_t axis : {0, 1}) {
      const int64_t total = padding->toStringRef() == "same" ? dilations[axis % dilations.size()] * (weight->toTensor().size(static_cast<int64_t>(axis) + 2) - 1) : 0;
      before.push_back(total / 2);
      uneven.push_back(total % 2);
    }
    WithInsertPoint point(node);
    Value* input = node->input(0);
    if (uneven[0] + uneven[1] > 0) {
      Value* padded = graph.insert(c10::aten::constant_pad_nd, {input, c10::IValue(std::vector<int64_t>{0, uneven[1], 0, uneven[0]})});
      if (auto sizes = recorded_sizes(input)) {
        sizes->at(2) += uneven[0];
        sizes->at(3) += uneven[1];
        padded->setType(c10::TensorType::createContiguous(recorded_dtype(input).value_or(at::kFloat), at::kCPU, *sizes));
      }
      input = padded;
    }
    Value* convolved = graph.insert(c10::aten::conv2d, {input, node->input(1), node->input(2), node->input(3), c10::IValue(before), node->input(5), node->input(6)});
    convolved->setType(node->output()->type());
    convolved->node()->setScope(node->scope());
    node->output()->replaceAllUsesWith(convolved);
    for (auto& named : nodes) {
      if (named.value == node->output()) named.value = convolved;
    }
    node->destroy();
  }
}

std::string size_text(const at::Tensor& images) { return std::to_string(images.size(3)) + "x" + std::to_string(images.size(2)); }

// In the order of execution, so that `path:1` is the second call.
std::vector<NamedValue> resolve_marks(Graph& graph) {
  std::vector<NamedValue> nodes;
  std::unordered_map<std::string, int> calls;
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = *it++;
    if (node->kind() != mark_symbol()) continue;
    std::string name = constant_of(node->input(1))->toStringRef();
    const int call = calls[name]++;
    if (call > 0) name += ":" + std::to_string(call);
    Value* value = node->input(0);
    // The mark's type was recorded by tracing; the marked value's may be that of an untyped unpacking.
    if (!recorded_sizes(value)) value->setType(node->output()->type());
    node->output()->replaceAllUsesWith(value);
    node->destroy();
    nodes.push_back({name, value});
  }
  return nodes;
}

// `conv[3]`: what a frozen archive, whose module names are gone, can still say of its nodes.
std::vector<NamedValue> structural_names(Graph& graph) {
  static const std::vector<std::pair<const char*, const char*>> kinds = {
      {"_convolution", "conv"}, {"conv2d", "conv"},     {"batch_norm", "norm"}, {"layer_norm", "norm"},
      {"group_norm", "norm"},   {"linear", "linear"},   {"relu", "relu"},       {"gelu", "gelu"},
      {"silu", "silu"},         {"max_pool2d", "pool"}, {"adaptive_avg_pool2d", "pool"}};
  std::vector<NamedValue> nodes;
  std::unordered_map<std::string, int> seen;
  for (Node* node : graph.nodes()) {
    if (node->outputs().size() != 1) continue;
    std::string kind;
    for (const auto& [op, label] : kinds) {
      if (is_aten(node, op)) kind = label;
    }
    // A sum of two activations is a residual connection: the blocks of both families end there.
    if (is_aten(node, "add") && is_tensor(node->input(1)) && !constant_of(node->input(0)) &&
        !constant_of(node->input(1))) {
      const auto sizes = recorded_sizes(node->output());
      if (sizes && sizes->size() >= 3) kind = "residual";
    }
    if (kind.empty()) continue;
    nodes.push_back({kind + "[" + std::to_string(seen[kind]++) + "]", node->output()});
  }
  return nodes;
}

bool mentions_quantized(const Graph& graph) {
  for (const Node* node : graph.nodes()) {
    if (node->kind().ns() == c10::Symbol::fromQualString("namespaces::quantized")) return true;
    if (is_any_of(node, {"quantize_per_tensor", "quantize_per_channel", "dequantize"})) return true;
  }
  return false;
}

// Dead code takes away values that no output needs (a module whose output nobody uses); their names must go as well.
void forget_dead_names(const Graph& graph, std::vector<NamedValue>& nodes) {
  std::unordered_set<const Value*> alive{graph.inputs().begin(), graph.inputs().end()};
  for (const Node* node : graph.nodes()) alive.insert(node->outputs().begin(), node->outputs().end());
  std::erase_if(nodes, [&](const NamedValue& node) { return alive.count(node.value) == 0; });
}

// Replaces `relu_` and its like by `relu`, so that a tap before an in-place operator keeps what a forward hook saw.
// The pass replaces the values of in-place operators, so those are carried through it as outputs; carrying others
// would pin the very buffers that it must free.
void functionalise(const std::shared_ptr<Graph>& graph, std::vector<NamedValue>& nodes) {
  torch::jit::RemoveListMutation(graph);
  const size_t before = graph->outputs().size();
  std::vector<size_t> carried;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Node* node = nodes[i].value->node();
    const std::string kind = node->kind().toUnqualString();
    if (node->kind().is_aten() && !kind.empty() && kind.back() == '_') {
      carried.push_back(i);
      graph->registerOutput(nodes[i].value);
    }
  }
  torch::jit::RemoveTensorMutation(graph);
  for (size_t i = 0; i < carried.size(); ++i) {
    Value* replacement = graph->outputs()[before + i];
    if (!recorded_sizes(replacement)) replacement->setType(nodes[carried[i]].value->type());
    nodes[carried[i]].value = replacement;
  }
  while (graph->outputs().size() > before) graph->eraseOutput(graph->outputs().size() - 1);
}

}  // namespace

StraightGraph straighten(const torch::jit::Module& module, const at::Tensor& example, const OutputChoice& choice, const FirstRunGuard& guard) {
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
  move_device_constants(inlined->block(), *inlined, example.device());
  // Before tracing: the fused kernel has no derivative, so it fails in a run with gradients on.
  open_native_multi_head_attention(*inlined);
  const bool was_training = set_to_inference(inlined->block(), *inlined);

  if (guard.insert) guard.insert(*inlined);

  std::shared_ptr<Graph> graph;
  try {
    at::AutoGradMode with_gradients(true);
    torch::jit::Stack stack{module._ivalue(), example.detach().clone().requires_grad_(example.is_floating_point())};
    graph = torch::jit::TraceGraph(inlined->copy(), stack);
  } catch (...) {
    throw translate_current_exception("INVALID_INPUT", "The model does not run on images of " + size_text(example));
  }

  if (guard.remove) guard.remove(*graph);
  torch::jit::LowerSimpleTuples(graph);
  bind_parameters(*graph, module);
  StraightGraph result;
  result.graph = graph;
  result.original = inlined;
  result.was_training = was_training;
  result.nodes = resolve_marks(*graph);
  const auto outputs = returned_values(graph->outputs()[0]);
  const auto [chosen, returned] = outputs.at(choose_output(outputs, choice, size_text(example)));
  result.output = chosen;
  for (const auto& [name, value] : outputs) result.outputs.push_back({name, recorded_sizes(value).value_or(std::vector<int64_t>{})});
  while (!graph->outputs().empty()) graph->eraseOutput(graph->outputs().size() - 1);
  graph->registerOutput(returned);
  torch::jit::EliminateDeadCode(graph);
  forget_dead_names(*graph, result.nodes);
  functionalise(graph, result.nodes);
  // Lists of axes become constants that inspection can read, and what does not depend on the image is computed once.
  torch::jit::ConstantPropagation(graph);
  spell_out_padding(*graph, result.nodes);
  torch::jit::EliminateDeadCode(graph);
  forget_dead_names(*graph, result.nodes);
  result.has_module_names = !result.nodes.empty();
  if (!result.has_module_names) result.nodes = structural_names(*graph);
  result.is_quantized = mentions_quantized(*graph);
  result.image = graph->inputs()[1];
  result.returned = graph->outputs()[0];
  result.answer = read_answer(*graph, choice);
  graph->eraseOutput(0);
  graph->registerOutput(result.answer.logits);
  return result;
}

}  // namespace sightline
