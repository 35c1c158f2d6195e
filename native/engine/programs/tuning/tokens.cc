#include "engine/graph/graph_ops.h"
#include "engine/programs/tuning/tuning.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <tuple>
#include <unordered_map>

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Use;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

// Which tokens of an axis are read.
struct Rows {
  int64_t first, last;
};

std::optional<int64_t> integer_of(const Value* value) {
  const auto constant = constant_of(value);
  if (!constant || !constant->isInt()) return std::nullopt;
  return constant->toInt();
}

// A tensor operand on the way, and where its tokens lie.
struct Operand {
  size_t input;
  int64_t axis;
};

bool is_elementwise(const Node* node) {
  return is_any_of(
      node, {"gelu", "relu", "silu", "tanh", "sigmoid", "hardswish", "dropout", "contiguous", "clone", "to", "float"});
}

// Operators that compute each token of the axis by itself: their operands that have the axis. None where the node mixes
// tokens, or is not known.
std::optional<std::vector<Operand>> operands_of(const Node* node, int64_t axis) {
  const auto sizes = recorded_sizes(node->output());
  if (!sizes) return std::nullopt;
  const auto rank = static_cast<int64_t>(sizes->size());
  const auto from_start = [&](int64_t dim) { return dim < 0 ? dim + rank : dim; };
  if (is_elementwise(node)) return std::vector<Operand>{{0, axis}};
  if (is_aten(node, "linear") && axis < rank - 1) return std::vector<Operand>{{0, axis}};
  if (is_aten(node, "layer_norm") && axis < rank - 1) {
    const auto shape = constant_of(node->input(1));
    if (!shape || !shape->isIntList() || shape->toIntVector().size() != 1) return std::nullopt;
    return std::vector<Operand>{{0, axis}};
  }
  if (is_aten(node, "softmax")) {
    const auto dim = integer_of(node->input(1));
    if (!dim || from_start(*dim) == axis) return std::nullopt;
    return std::vector<Operand>{{0, axis}};
  }
  if (is_aten(node, "slice")) {
    // x[:]: the whole of another axis.
    const auto dim = integer_of(node->input(1)), start = integer_of(node->input(2));
    const auto in = recorded_sizes(node->input(0));
    if (!dim || start.value_or(0) != 0 || !in || from_start(*dim) == axis || *in != *sizes) return std::nullopt;
    return std::vector<Operand>{{0, axis}};
  }
  if (is_aten(node, "transpose")) {
    const auto a = integer_of(node->input(1)), b = integer_of(node->input(2));
    if (!a || !b) return std::nullopt;
    const auto one = from_start(*a), other = from_start(*b);
    return std::vector<Operand>{{0, axis == one ? other : axis == other ? one : axis}};
  }
  if (is_aten(node, "permute")) {
    const auto order = constant_of(node->input(1));
    if (!order || !order->isIntList()) return std::nullopt;
    return std::vector<Operand>{{0, from_start(order->toIntVector().at(static_cast<size_t>(axis)))}};
  }
  if (is_any_of(node, {"add", "sub", "mul", "div"})) {
    std::vector<Operand> operands;
    for (size_t i = 0; i < 2; ++i) {
      if (!is_tensor(node->input(i))) continue;
      const auto operand = recorded_sizes(node->input(i));
      if (!operand) return std::nullopt;
      const auto place = axis - (rank - static_cast<int64_t>(operand->size()));
      // A bias or a scale that all tokens share.
      if (place < 0 || operand->at(static_cast<size_t>(place)) == 1) continue;
      operands.push_back({i, place});
    }
    return operands;
  }
  if (is_aten(node, "reshape") || is_aten(node, "flatten")) {
    // [batch, tokens, heads, size] to [batch, tokens, channels].
    const auto in = recorded_sizes(node->input(0));
    if (!in || in->size() != 4 || rank != 3 || axis != 1) return std::nullopt;
    if (in->at(0) != sizes->at(0) || in->at(1) != sizes->at(1)) return std::nullopt;
    return std::vector<Operand>{{0, 1}};
  }
  if (is_aten(node, "scaled_dot_product_attention") && axis == rank - 2) {
    const auto causal = constant_of(node->input(5));
    const auto mask = constant_of(node->input(3));
    if (!mask || !mask->isNone() || !causal || causal->toBool()) return std::nullopt;
    return std::vector<Operand>{{0, axis}};
  }
  if (is_aten(node, "matmul") && axis == rank - 2) {
    const auto left = recorded_sizes(node->input(0));
    if (!left || left->size() != sizes->size()) return std::nullopt;
    return std::vector<Operand>{{0, axis}};
  }
  return std::nullopt;
}

// The node, in the shape of fewer tokens.
void keep_shape_of_rows(Graph& graph, Node* node) {
  if (!is_any_of(node, {"reshape", "flatten"})) return;
  // The sizes that it was given are those of all tokens.
  WithInsertPoint point(node);
  Value* merged = graph.insert(c10::aten::flatten, {node->input(0), 2, -1});
  node->output()->replaceAllUsesWith(merged);
  node->destroy();
}

}  // namespace

void narrow_tokens(Graph& graph) {
  // Per value, along which axis and which tokens are read of it, where nothing reads more.
  std::unordered_map<const Value*, std::pair<int64_t, Rows>> read;
  std::vector<Node*> narrowed, readers;
  std::unordered_map<const Node*, std::vector<Operand>> operands;

  const auto demand = [&](const Value* value) -> std::optional<std::pair<int64_t, Rows>> {
    std::optional<std::pair<int64_t, Rows>> found;
    const auto join = [&](int64_t axis, Rows rows) {
      if (!found) {
        found = {axis, rows};
        return true;
      }
      if (found->first != axis) return false;
      found->second = {std::min(found->second.first, rows.first), std::max(found->second.last, rows.last)};
      return true;
    };
    for (const Use& use : value->uses()) {
      const auto of = operands.find(use.user);
      if (of != operands.end()) {
        const auto place =
            std::find_if(of->second.begin(), of->second.end(), [&](const Operand& o) { return o.input == use.offset; });
        if (place == of->second.end() || !join(place->axis, read.at(use.user->output()).second)) return std::nullopt;
        continue;
      }
      const auto sizes = recorded_sizes(value);
      if (!is_aten(use.user, "select") || use.offset != 0 || !sizes || sizes->size() != 3) return std::nullopt;
      const auto dim = integer_of(use.user->input(1)), index = integer_of(use.user->input(2));
      if (!dim || *dim != 1 || !index) return std::nullopt;
      const auto row = *index < 0 ? *index + sizes->at(1) : *index;
      if (!join(1, {row, row})) return std::nullopt;
    }
    return found;
  };

  for (Node* node : graph.nodes().reverse()) {
    if (node->outputs().size() != 1 || node->kind() == c10::prim::Constant || !is_tensor(node->output())) continue;
    const auto wanted = demand(node->output());
    if (!wanted) continue;
    const auto sizes = recorded_sizes(node->output());
    // Half of the tokens is nothing to save.
    if (!sizes || 2 * (wanted->second.last - wanted->second.first + 1) > sizes->at(static_cast<size_t>(wanted->first)))
      continue;
    auto through = operands_of(node, wanted->first);
    if (!through || through->empty()) continue;
    read.emplace(node->output(), *wanted);
    operands.emplace(node, std::move(*through));
    narrowed.push_back(node);
  }
  if (narrowed.empty()) return;

  // A value that is read by narrowed nodes, and is not narrowed itself, is cut before them.
  std::map<std::tuple<Value*, int64_t, int64_t, int64_t>, Value*> cuts;
  for (auto it = narrowed.rbegin(); it != narrowed.rend(); ++it) {
    Node* node = *it;
    const Rows own = read.at(node->output()).second;
    for (const Operand& operand : operands.at(node)) {
      Value* value = node->input(operand.input);
      const auto before = read.find(value);
      Rows from = own;
      if (before != read.end()) {
        const Rows held = before->second.second;
        if (held.first == own.first && held.last == own.last) continue;
        from = {own.first - held.first, own.last - held.first};
      }
      Value*& cut = cuts[{value, operand.axis, from.first, from.last}];
      if (cut == nullptr) {
        WithInsertPoint point(node);
        cut = graph.insert(c10::aten::narrow, {value, operand.axis, from.first, from.last - from.first + 1});
      }
      node->replaceInput(operand.input, cut);
    }
    for (const Use& use : node->output()->uses()) {
      if (is_aten(use.user, "select") && operands.count(use.user) == 0) readers.push_back(use.user);
    }
  }
  for (Node* reader : readers) {
    const auto sizes = recorded_sizes(reader->input(0));
    const auto index = integer_of(reader->input(2)).value();
    const auto row = index < 0 ? index + sizes->at(1) : index;
    WithInsertPoint point(reader);
    reader->replaceInput(2, graph.insertConstant(row - read.at(reader->input(0)).second.first));
  }
  for (Node* node : narrowed) keep_shape_of_rows(graph, node);
  torch::jit::EliminateDeadCode(graph.block());
}

}  // namespace sightline
