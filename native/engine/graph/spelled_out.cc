#include "engine/graph/spelled_out.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

Value* with_sizes(Value* value, const Value* like, std::vector<int64_t> sizes) {
  const auto type = like->type()->expect<c10::TensorType>();
  value->setType(c10::TensorType::createContiguous(type->scalarType().value_or(at::kFloat),
                                                   type->device().value_or(at::kCPU), sizes));
  return value;
}

void replace(Node* node, Value* value, std::vector<NamedValue>& nodes) {
  value->setType(node->output()->type());
  node->output()->replaceAllUsesWith(value);
  for (auto& named : nodes) {
    if (named.value == node->output()) named.value = value;
  }
  node->destroy();
}

// `padding='same'` and `'valid'` as numbers, which is what all that reads convolutions knows. An even kernel pads one more at the end.
void spell_out_padding(Graph& graph, std::vector<NamedValue>& nodes) {
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = *it++;
    if (!is_aten(node, "_convolution_mode") &&
        !(is_aten(node, "conv2d") && node->input(4)->type()->kind() == c10::TypeKind::StringType))
      continue;
    const auto weight = constant_of(node->input(1)), padding = constant_of(node->input(4)),
               dilation = constant_of(node->input(5));
    if (!weight || !weight->isTensor() || weight->toTensor().dim() != 4 || !padding || !padding->isString() ||
        !dilation || !dilation->isIntList())
      continue;
    std::vector<int64_t> before, uneven;
    const auto dilations = dilation->toIntVector();
    for (const size_t axis : {0, 1}) {
      const int64_t total =
          padding->toStringRef() == "same"
              ? dilations[axis % dilations.size()] * (weight->toTensor().size(static_cast<int64_t>(axis) + 2) - 1)
              : 0;
      before.push_back(total / 2);
      uneven.push_back(total % 2);
    }
    WithInsertPoint point(node);
    Value* input = node->input(0);
    if (uneven[0] + uneven[1] > 0) {
      Value* padded = graph.insert(c10::aten::constant_pad_nd,
                                   {input, c10::IValue(std::vector<int64_t>{0, uneven[1], 0, uneven[0]})});
      if (auto sizes = recorded_sizes(input)) {
        sizes->at(2) += uneven[0];
        sizes->at(3) += uneven[1];
        with_sizes(padded, input, *sizes);
      }
      input = padded;
    }
    Value* convolved = graph.insert(c10::aten::conv2d, {input, node->input(1), node->input(2), node->input(3),
                                                        c10::IValue(before), node->input(5), node->input(6)});
    convolved->node()->setScope(node->scope());
    replace(node, convolved, nodes);
  }
}

// `ij,jk->ik` with its ellipses written as letters; none where an operand has a letter twice, or the result is not told.
struct Equation {
  std::string left, right, result;
};

std::optional<Equation> read_equation(const Value* text, const std::vector<int64_t>& left,
                                      const std::vector<int64_t>& right) {
  const auto constant = constant_of(text);
  if (!constant || !constant->isString()) return std::nullopt;
  std::string equation = constant->toStringRef();
  std::erase(equation, ' ');
  const auto comma = equation.find(','), arrow = equation.find("->");
  if (comma == std::string::npos || arrow == std::string::npos || comma > arrow) return std::nullopt;
  Equation read{equation.substr(0, comma), equation.substr(comma + 1, arrow - comma - 1), equation.substr(arrow + 2)};
  // The axes of an ellipsis are told from the last: small digits, which no equation has.
  size_t most = 0;
  const auto expand = [&](std::string& letters, std::optional<size_t> rank) {
    const auto dots = letters.find("...");
    if (dots == std::string::npos) return !rank || letters.size() == *rank;
    if (rank && letters.size() - 3 > *rank) return false;
    const size_t count = rank ? *rank - (letters.size() - 3) : most;
    if (count > 9) return false;
    most = std::max(most, count);
    std::string digits;
    for (size_t i = count; i > 0; --i) digits += static_cast<char>('0' + i);
    letters.replace(dots, 3, digits);
    return true;
  };
  if (!expand(read.left, left.size()) || !expand(read.right, right.size()) || !expand(read.result, std::nullopt))
    return std::nullopt;
  for (const auto* letters : {&read.left, &read.right, &read.result}) {
    for (size_t i = 0; i < letters->size(); ++i) {
      if (letters->find((*letters)[i], i + 1) != std::string::npos) return std::nullopt;
    }
  }
  return read;
}

Value* in_order(Graph& graph, Value* value, const std::string& letters, const std::string& wanted) {
  if (letters == wanted) return value;
  std::vector<int64_t> order, sizes;
  const auto from = *recorded_sizes(value);
  for (const char letter : wanted) {
    order.push_back(static_cast<int64_t>(letters.find(letter)));
    sizes.push_back(from.at(static_cast<size_t>(order.back())));
  }
  return with_sizes(graph.insert(c10::aten::permute, {value, c10::IValue(order)}), value, sizes);
}

// Batched products of two matrices, which is how attention is written by `einsum`. LibTorch computes them by the same steps.
void spell_out_one_einsum(Graph& graph, Node* node, std::vector<NamedValue>& nodes) {
  const Node* list = node->input(1)->node();
  if (list->kind() != c10::prim::ListConstruct || list->inputs().size() != 2) return;
  Value* operands[] = {const_cast<Value*>(list->input(0)), const_cast<Value*>(list->input(1))};
  const auto left = recorded_sizes(operands[0]), right = recorded_sizes(operands[1]);
  if (!left || !right) return;
  const auto equation = read_equation(node->input(0), *left, *right);
  if (!equation) return;
  std::string letters[] = {equation->left, equation->right};
  std::string batch, own[2], summed;
  for (const char letter : equation->result) {
    const bool in_left = letters[0].find(letter) != std::string::npos,
               in_right = letters[1].find(letter) != std::string::npos;
    if (!in_left && !in_right) return;
    (in_left && in_right ? batch : own[in_left ? 0 : 1]) += letter;
  }
  for (size_t side : {0, 1}) {
    for (size_t i = 0; i < letters[side].size(); ++i) {
      const char letter = letters[side][i];
      const auto there = letters[1 - side].find(letter);
      if (there != std::string::npos && left->at(side == 0 ? i : there) != right->at(side == 0 ? there : i)) return;
      if (equation->result.find(letter) != std::string::npos) continue;
      if (there == std::string::npos) return;
      if (side == 0) summed += letter;
    }
  }
  if (summed.size() != 1 || own[0].size() != 1 || own[1].size() != 1) return;
  if (equation->result.find(own[0]) > equation->result.find(own[1])) {
    std::swap(operands[0], operands[1]);
    std::swap(letters[0], letters[1]);
    std::swap(own[0], own[1]);
  }
  const WithInsertPoint point(node);
  Value* a = in_order(graph, operands[0], letters[0], batch + own[0] + summed);
  Value* b = nullptr;
  if (letters[1].find(summed) < letters[1].find(own[1])) {
    b = in_order(graph, operands[1], letters[1], batch + summed + own[1]);
  } else {
    Value* rows = in_order(graph, operands[1], letters[1], batch + own[1] + summed);
    auto sizes = *recorded_sizes(rows);
    std::swap(sizes[sizes.size() - 1], sizes[sizes.size() - 2]);
    b = with_sizes(graph.insert(c10::aten::transpose, {rows, -2, -1}), rows, sizes);
  }
  auto sizes = *recorded_sizes(a);
  sizes.back() = recorded_sizes(b)->back();
  Value* product = with_sizes(graph.insert(c10::aten::matmul, {a, b}), node->output(), sizes);
  for (Node* inserted : {a->node(), b->node(), product->node()}) {
    if (inserted->scopeName().empty() && !node->scopeName().empty()) inserted->setScope(node->scope());
  }
  replace(node, in_order(graph, product, batch + own[0] + own[1], equation->result), nodes);
}

// Queries in groups, each with the keys and values of one head: those are repeated for each query of the group.
void spell_out_grouped_queries(Graph& graph, Node* node) {
  const auto grouped = node->inputs().size() > 7 ? constant_of(node->input(7)) : std::nullopt;
  if (!grouped || !grouped->isBool() || !grouped->toBool()) return;
  const auto query = recorded_sizes(node->input(0));
  if (!query || query->size() < 3) return;
  const WithInsertPoint point(node);
  for (const size_t i : {1, 2}) {
    const auto sizes = recorded_sizes(node->input(i));
    if (!sizes || sizes->size() != query->size()) return;
    const int64_t heads = query->at(query->size() - 3), shared = sizes->at(sizes->size() - 3);
    if (shared == 0 || heads % shared != 0) return;
    auto repeated = *sizes;
    repeated[repeated.size() - 3] = heads;
    node->replaceInput(i, with_sizes(graph.insert(c10::aten::repeat_interleave, {node->input(i), heads / shared, -3}),
                                     node->input(i), repeated));
  }
  node->replaceInput(7, graph.insertConstant(false));
}

}  // namespace

void spell_out(Graph& graph, std::vector<NamedValue>& nodes) {
  spell_out_padding(graph, nodes);
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = *it++;
    if (is_aten(node, "einsum")) {
      spell_out_one_einsum(graph, node, nodes);
    } else if (is_aten(node, "scaled_dot_product_attention")) {
      spell_out_grouped_queries(graph, node);
    }
  }
}

}  // namespace sightline
