#include "engine/graph/outputs.h"

#include <ATen/ops/tensor.h>
#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <sstream>
#include <unordered_set>

#include "engine/errors.h"
#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

namespace {

std::string joined(const std::string& path, const std::string& name) { return path.empty() ? name : path + "." + name; }

void collect(Value* value, const std::string& path, std::vector<std::pair<std::string, Value*>>& found) {
  if (is_tensor(value)) {
    found.emplace_back(path.empty() ? "output" : path, value);
    return;
  }
  const Node* node = value->node();
  if (node->kind() == c10::prim::DictConstruct) {
    for (size_t i = 0; i + 1 < node->inputs().size(); i += 2) {
      const auto key = constant_of(node->input(i));
      if (key && key->isString())
        collect(const_cast<Value*>(node->input(i + 1)), joined(path, key->toStringRef()), found);
    }
  } else if (node->kind() == c10::prim::TupleConstruct || node->kind() == c10::prim::ListConstruct) {
    for (size_t i = 0; i < node->inputs().size(); ++i)
      collect(const_cast<Value*>(node->input(i)), joined(path, std::to_string(i)), found);
  }
}

void collect(const c10::IValue& value, const std::string& path,
             std::vector<std::pair<std::string, at::Tensor>>& found) {
  if (value.isTensor()) {
    found.emplace_back(path.empty() ? "output" : path, value.toTensor());
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) {
      if (entry.key().isString()) collect(entry.value(), joined(path, entry.key().toStringRef()), found);
    }
  } else if (value.isTuple()) {
    const auto& elements = value.toTuple()->elements();
    for (size_t i = 0; i < elements.size(); ++i) collect(elements[i], joined(path, std::to_string(i)), found);
  } else if (value.isList()) {
    const auto elements = value.toListRef();
    for (size_t i = 0; i < elements.size(); ++i) collect(elements[i], joined(path, std::to_string(i)), found);
  }
}

size_t rank_of(const Value* value) {
  const auto sizes = recorded_sizes(value);
  return sizes ? sizes->size() : SIZE_MAX;
}

bool is_computed_from(const Value* value, const Value* source) {
  std::vector<const Value*> stack{value};
  std::unordered_set<const Value*> seen;
  while (!stack.empty()) {
    const Value* current = stack.back();
    stack.pop_back();
    for (const Value* input : current->node()->inputs()) {
      if (input == source) return true;
      if (seen.insert(input).second) stack.push_back(input);
    }
  }
  return false;
}

std::string list_of(const std::vector<std::pair<std::string, Value*>>& outputs) {
  std::ostringstream text;
  for (const auto& [name, value] : outputs) {
    if (text.tellp() > 0) text << ", ";
    text << name;
    if (const auto sizes = recorded_sizes(value)) {
      text << " (";
      for (size_t i = 0; i < sizes->size(); ++i)
        text << (i > 0 ? " x " : "") << (i == 0 ? "N" : std::to_string(sizes->at(i)));
      text << ")";
    }
  }
  return text.str();
}

int64_t numbers_of(const Value* value) {
  const auto sizes = recorded_sizes(value);
  return sizes ? c10::multiply_integers(*sizes) : -1;
}

// What the activation at the end reads. Where there is none the value itself, or the [N, 1] that it was squeezed from.
Value* before_activation(Value* value, std::string& activation) {
  const auto plain = [&](Value* end) { return rank_of(value) < 2 && rank_of(end) == 2 ? end : value; };
  for (Value* end = value;;) {
    Node* node = end->node();
    if (is_aten(node, "sigmoid")) {
      activation = "sigmoid";
      return node->input(0);
    }
    if (is_any_of(node, {"softmax", "log_softmax"})) {
      const auto axis = constant_of(node->input(1));
      // Over the images, it is no activation of the classes.
      if (!axis || !axis->isInt() || rank_of(node->input(0)) != 2 || (axis->toInt() != 1 && axis->toInt() != -1))
        return value;
      activation = node->kind().toUnqualString();
      return node->input(0);
    }
    if (!is_any_of(node, {"squeeze", "unsqueeze", "view", "reshape", "flatten", "to", "contiguous", "select"}))
      return plain(end);
    if (!is_tensor(node->input(0)) || numbers_of(node->input(0)) != numbers_of(end)) return plain(end);
    end = node->input(0);
  }
}

Value* typed(Value* value, const Value* like, at::IntArrayRef sizes) {
  const auto type = like->type()->expect<c10::TensorType>();
  value->setType(c10::TensorType::createContiguous(type->scalarType().value_or(at::kFloat),
                                                   type->device().value_or(at::kCPU), sizes));
  return value;
}

}  // namespace

std::vector<std::pair<std::string, Value*>> returned_values(Value* returned) {
  std::vector<std::pair<std::string, Value*>> found;
  collect(returned, "", found);
  return found;
}

std::vector<std::pair<std::string, at::Tensor>> returned_tensors(const c10::IValue& returned) {
  std::vector<std::pair<std::string, at::Tensor>> found;
  collect(returned, "", found);
  return found;
}

size_t choose_output(const std::vector<std::pair<std::string, Value*>>& outputs, const OutputChoice& choice,
                     const std::string& size) {
  const auto too_many_rows = [&](const Value* value) {
    return EngineError("INVALID_INPUT", "The model returns " + std::to_string(recorded_sizes(value)->at(0)) +
                                            " rows of scores for one image of " + size +
                                            "; it is made for images of another size.");
  };
  if (!choice.output.empty()) {
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i].first != choice.output) continue;
      if (rank_of(outputs[i].second) == 2 && recorded_sizes(outputs[i].second)->at(0) != 1)
        throw too_many_rows(outputs[i].second);
      return i;
    }
    throw EngineError("INVALID_OPTION",
                      "The model has no output '" + choice.output + "'; it returns " + list_of(outputs) + ".");
  }
  std::vector<size_t> scores;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (rank_of(outputs[i].second) == 2) scores.push_back(i);
  }
  for (const size_t i : scores) {
    if (recorded_sizes(outputs[i].second)->at(0) != 1) throw too_many_rows(outputs[i].second);
  }
  for (const size_t i : scores) {
    if (outputs[i].first == "logits") return i;
  }
  for (const size_t i : scores) {
    const auto reads = [&](size_t other) {
      return other != i && is_computed_from(outputs[other].second, outputs[i].second);
    };
    if (std::none_of(scores.begin(), scores.end(), reads)) return i;
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (rank_of(outputs[i].second) < 2 && numbers_of(outputs[i].second) == 1) return i;
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto sizes = recorded_sizes(outputs[i].second);
    if (sizes && sizes->size() > 2 && sizes->at(0) == 1) return i;
  }
  throw EngineError("UNSUPPORTED_MODEL",
                    "The model returns neither class scores of shape [N, classes] nor another tensor with the images "
                    "as its first axis (alone or in a tuple, list or dict); export a module that does.");
}

Answer read_answer(Graph& graph, const OutputChoice& choice) {
  Answer answer;
  Value* const returned = graph.outputs()[0];
  answer.logits = answer.source = returned;
  if (rank_of(returned) > 2) return answer;
  Value* logits = before_activation(returned, answer.activation);
  torch::jit::WithInsertPoint point(graph.return_node());
  if (rank_of(logits) != 2)
    logits =
        typed(graph.insert(c10::aten::reshape, {logits, c10::IValue(std::vector<int64_t>{-1, 1})}), logits, {1, 1});
  answer.logits = answer.source = logits;
  const bool is_alone = recorded_sizes(logits)->at(1) == 1;
  answer.scores = choice.scores;
  if (answer.scores.empty())
    answer.scores = is_alone ? "yes-or-no" : answer.activation == "sigmoid" ? "labels" : "classes";
  if (answer.scores != "yes-or-no") return answer;
  if (!is_alone) {
    throw EngineError("INVALID_OPTION",
                      "The scores are said to be yes-or-no, which is one logit, but the model returns " +
                          std::to_string(recorded_sizes(logits)->at(1)) + "; say classes or labels.");
  }
  // A linear layer, which every relevance rule knows.
  const auto dtype = recorded_dtype(logits).value_or(at::kFloat);
  const auto device = logits->type()->expect<c10::TensorType>()->device().value_or(at::kCPU);
  const auto both = at::tensor({-1.0, 1.0}, at::kDouble).to(device, dtype).view({2, 1});
  answer.logits = typed(graph.insert(c10::aten::linear, {logits, both}), logits, {1, 2});
  return answer;
}

}  // namespace sightline
