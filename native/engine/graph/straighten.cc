#include "engine/graph/straighten.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/lower_tuples.h>
#include <torch/csrc/jit/passes/remove_mutation.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <regex>
#include <unordered_map>
#include <utility>

#include "engine/errors.h"
#include "engine/graph/graph_ops.h"
#include "engine/graph/image_axes.h"
#include "engine/graph/inlining.h"
#include "engine/graph/mutation.h"
#include "engine/graph/one_run.h"
#include "engine/graph/spelled_out.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

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

std::string size_text(const at::Tensor& images) {
  return std::to_string(images.size(3)) + "x" + std::to_string(images.size(2));
}

// What of the model does not fit the images, for a person; LibTorch's words go into the details.
EngineError does_not_run(const at::Tensor& images) {
  const auto error = translate_current_exception("INVALID_INPUT", "");
  if (error.code() != "INVALID_INPUT" || error.details().empty()) return error;
  const auto& reason = error.details();
  std::string why = "an operator of it fails there";
  std::smatch found;
  if (std::regex_search(reason, found,
                        std::regex(R"(expected input\[[^\]]*\] to have (\d+) channels, but got (\d+))"))) {
    why = "a convolution of it takes " + found.str(1) + " channels and gets " + found.str(2) + ", from images of " +
          std::to_string(images.size(1)) + "; say in a card how many `channels` the images have";
  } else if (std::regex_search(reason, found, std::regex(R"(cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\))"))) {
    why = "a linear layer of it takes " + found.str(3) + " numbers and gets " + found.str(2) +
          "; say in a card which size, and how many `channels`, the images have";
  } else if (std::regex_search(reason, found,
                               std::regex(R"(shape '(\[[^']*\])' is invalid for input of size (\d+))"))) {
    why = "a view of it makes " + found.str(1) + " of " + found.str(2) +
          " numbers; say in a card which size, and how many `channels`, the images have";
  }
  return {"INVALID_INPUT", "The model does not run on images of " + size_text(images) + ": " + why + ".", reason};
}

bool mentions_quantized(const Graph& graph) {
  for (const Node* node : graph.nodes()) {
    if (node->kind().ns() == c10::Symbol::fromQualString("namespaces::quantized")) return true;
    if (is_any_of(node, {"quantize_per_tensor", "quantize_per_channel", "dequantize"})) return true;
  }
  return false;
}

// What `isinstance` has found to be a list is that list: under two names, nothing could be told of what is appended to it.
void join_cast_lists(Graph& graph) {
  for (Node* node : graph.nodes()) {
    if (node->kind() == c10::prim::unchecked_cast && node->output()->type()->kind() == c10::TypeKind::ListType &&
        node->input()->type()->kind() == c10::TypeKind::ListType) {
      node->output()->replaceAllUsesWith(node->input());
    }
  }
}

// A tuple that was found not to be None is that tuple: under two names it could not be taken apart.
void join_cast_tuples(Graph& graph) {
  for (Node* node : graph.nodes()) {
    if (node->kind() == c10::prim::unchecked_cast && node->input()->node()->kind() == c10::prim::TupleConstruct)
      node->output()->replaceAllUsesWith(node->input());
  }
}

}  // namespace

StraightGraph straighten(const torch::jit::Module& module, const at::Tensor& example, const OutputChoice& choice,
                         const FirstRunGuard& guard) {
  auto [inlined, was_training] = inline_forward(module, example.device());
  if (choice.is_channels_last) take_channels_first(*inlined);
  // Before the guards go in, which nothing reads either.
  torch::jit::EliminateDeadCode(inlined);
  if (guard.insert) guard.insert(*inlined);

  OneRun run;
  try {
    at::AutoGradMode with_gradients(true);
    torch::jit::Stack stack{module._ivalue(), example.detach().clone().requires_grad_(example.is_floating_point())};
    run = write_down_one_run(inlined->copy(), stack);
  } catch (...) {
    throw does_not_run(example);
  }

  auto graph = run.graph;
  if (guard.remove) guard.remove(*graph);
  join_cast_tuples(*graph);
  torch::jit::LowerSimpleTuples(graph);
  bind_parameters(*graph, module);
  StraightGraph result;
  result.graph = graph;
  result.original = inlined;
  result.was_training = was_training;
  const auto untrue = remove_mutation(*graph, std::move(run.identities));
  result.nodes = resolve_marks(*graph, untrue);
  const auto outputs = returned_values(graph->outputs()[0]);
  const auto [chosen, returned] = outputs.at(choose_output(outputs, choice, size_text(example)));
  result.output = chosen;
  for (const auto& [name, value] : outputs)
    result.outputs.push_back({name, recorded_sizes(value).value_or(std::vector<int64_t>{})});
  while (!graph->outputs().empty()) graph->eraseOutput(graph->outputs().size() - 1);
  graph->registerOutput(returned);
  torch::jit::EliminateDeadCode(graph);
  forget_dead_names(*graph, result.nodes);
  join_cast_lists(*graph);
  torch::jit::RemoveListMutation(graph);
  // Lists of axes become constants that inspection can read, and what does not depend on the image is computed once.
  torch::jit::ConstantPropagation(graph);
  spell_out(*graph, result.nodes);
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
