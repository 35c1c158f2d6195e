#include "engine/graph/graph_ops.h"
#include "engine/programs/tuning/tuning.h"

#include <ATen/ops/arange.h>
#include <c10/util/accumulate.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <numeric>
#include <sstream>

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

// What one layout operator does, as read from the graph: each element of its output is one of its input's.
struct Move {
  enum class Kind { Reshape, Permute, Select } kind;
  std::vector<int64_t> numbers;  // Reshape: the sizes; Permute: the order; Select: axis and index
};

std::optional<int64_t> axis_of(const Value* value, size_t rank) {
  const auto constant = constant_of(value);
  if (!constant || !constant->isInt()) return std::nullopt;
  const auto axis = constant->toInt();
  return axis < 0 ? axis + static_cast<int64_t>(rank) : axis;
}

std::optional<Move> move_of(const Node* node) {
  if (node->inputs().empty() || node->outputs().size() != 1) return std::nullopt;
  // Not the input's sizes: a leaf has none on record.
  const auto out = recorded_sizes(node->output());
  if (!out) return std::nullopt;
  // All of these keep the order of the elements.
  if (is_any_of(node,
                {"view", "reshape", "_unsafe_view", "flatten", "unflatten", "unsqueeze", "squeeze", "contiguous"})) {
    return Move{Move::Kind::Reshape, *out};
  }
  if (is_aten(node, "transpose")) {
    const auto a = axis_of(node->input(1), out->size()), b = axis_of(node->input(2), out->size());
    if (!a || !b) return std::nullopt;
    std::vector<int64_t> order(out->size());
    std::iota(order.begin(), order.end(), 0);
    std::swap(order.at(*a), order.at(*b));
    return Move{Move::Kind::Permute, order};
  }
  if (is_aten(node, "permute")) {
    const auto order = constant_of(node->input(1));
    if (!order || !order->isIntList()) return std::nullopt;
    auto axes = order->toIntVector();
    for (auto& axis : axes) axis += axis < 0 ? static_cast<int64_t>(out->size()) : 0;
    return Move{Move::Kind::Permute, axes};
  }
  if (is_aten(node, "select")) {
    const auto axis = axis_of(node->input(1), out->size() + 1);
    const auto index = constant_of(node->input(2));
    if (!axis || !index || !index->isInt()) return std::nullopt;
    return Move{Move::Kind::Select, {*axis, index->toInt()}};
  }
  return std::nullopt;
}

// A path of layout operators between two values.
struct Path {
  Value* from = nullptr;
  Value* to = nullptr;
  std::vector<Move> moves;
  bool copies = false;  // on the way elements are laid out anew

  at::Tensor along(at::Tensor elements) const {
    for (const Move& move : moves) {
      if (move.kind == Move::Kind::Reshape) elements = elements.reshape(move.numbers);
      if (move.kind == Move::Kind::Permute) elements = elements.permute(move.numbers);
      if (move.kind == Move::Kind::Select) elements = elements.select(move.numbers[0], move.numbers[1]);
    }
    return elements;
  }

  std::string text() const {
    std::ostringstream out;
    for (const Move& move : moves) out << static_cast<int>(move.kind) << '(' << move.numbers << ')';
    return out.str();
  }
};

bool lays_out_anew(const Node* node) { return is_any_of(node, {"contiguous", "reshape", "flatten"}); }

Path path_to(Value* to) {
  Path path{to, to, {}, false};
  while (const auto move = move_of(path.from->node())) {
    path.moves.insert(path.moves.begin(), *move);
    path.copies = path.copies || lays_out_anew(path.from->node());
    path.from = path.from->node()->input(0);
  }
  return path;
}

// As far as nobody else reads what lies between.
Path path_from(Value* from) {
  Path path{from, from, {}, false};
  while (path.to->uses().size() == 1 && path.to->uses()[0].offset == 0) {
    Node* const reader = path.to->uses()[0].user;
    const auto move = move_of(reader);
    if (!move || move->kind == Move::Kind::Select) break;
    path.moves.push_back(*move);
    path.to = reader->output();
  }
  return path;
}

// The numbers 0, 1, 2, ... as a tensor: where they lie after a path says what it does to one image, which is what sizes
// were recorded of. To several it does the same, or the engine gives the model one image at a time.
at::Tensor numbered(const std::vector<int64_t>& sizes) {
  return at::arange(c10::multiply_integers(sizes), at::TensorOptions().dtype(at::kInt)).view(sizes);
}

class Layouts {
 public:
  explicit Layouts(Graph& graph) : graph_(graph) {}

  void run() {
    for (auto it = graph_.nodes().begin(); it != graph_.nodes().end();) {
      Node* node = *it++;
      if (is_aten(node, "linear")) {
        turn_after_linear(node);
        merge_heads_in_order(node);
      } else if (is_any_of(node, {"view", "reshape"})) {
        split_heads_in_order(node);
      }
    }
    torch::jit::EliminateDeadCode(graph_.block());
  }

 private:
  Value* insert(c10::Symbol kind, at::ArrayRef<torch::jit::NamedValue> inputs, std::vector<int64_t> sizes,
                const Value* like) {
    Value* value = graph_.insert(kind, inputs);
    value->setType(like->type()->expectRef<c10::TensorType>().withSizes(sizes));
    return value;
  }

  // linear(x^T) = linear(x)^T, where T turns the axes before the channels.
  void turn_after_linear(Node* linear) {
    Value* const turned = linear->input(0);
    if (is_output(linear->output())) return;
    const auto move = move_of(turned->node());
    const auto sizes = recorded_sizes(turned), out = recorded_sizes(linear->output());
    if (!move || move->kind != Move::Kind::Permute || !sizes || !out || sizes->size() != 3 ||
        move->numbers != std::vector<int64_t>{1, 0, 2})
      return;
    WithInsertPoint point(linear);
    Value* const straight = insert(c10::aten::linear, {turned->node()->input(0), linear->input(1), linear->input(2)},
                                   {out->at(1), out->at(0), out->at(2)}, linear->output());
    Value* const result = insert(c10::aten::transpose, {straight, 0, 1}, *out, linear->output());
    linear->output()->replaceAllUsesWith(result);
  }

  // Queries, keys and values that were cut out of one product on a way that copies them: [batch, heads, tokens, size].
  void split_heads_in_order(Node* node) {
    Value* const heads = node->output();
    const auto sizes = recorded_sizes(heads);
    if (!sizes || sizes->size() != 4 || is_output(heads)) return;
    const Path path = path_to(heads);
    const auto from = recorded_sizes(path.from);
    if (!path.copies || !is_aten(path.from->node(), "linear") || !from || from->size() != 3) return;
    if (from->at(0) != sizes->at(0) || from->at(1) != sizes->at(2)) return;
    const auto first = first_channel(path, *from, *sizes);
    if (!first) return;
    const auto count = sizes->at(1), size = sizes->at(3);
    WithInsertPoint point(node);
    Value* const own = insert(c10::aten::narrow, {path.from, 2, *first, count * size},
                              {from->at(0), from->at(1), count * size}, heads);
    Value* const split = insert(c10::aten::unflatten, {own, 2, c10::IValue(std::vector<int64_t>{count, size})},
                                {from->at(0), from->at(1), count, size}, heads);
    heads->replaceAllUsesWith(insert(c10::aten::transpose, {split, 1, 2}, *sizes, heads));
  }

  // The first of the channels that the path keeps, if it does nothing but split them into heads.
  std::optional<int64_t> first_channel(const Path& path, const std::vector<int64_t>& from,
                                       const std::vector<int64_t>& to) {
    std::ostringstream key;
    key << from << path.text();
    const auto known = first_channels_.find(key.str());
    if (known != first_channels_.end()) return known->second;
    const auto elements = numbered(from);
    const auto found = path.along(elements);
    std::optional<int64_t> first = found.flatten()[0].item<int64_t>();
    const auto channels = to.at(1) * to.at(3);
    if (*first + channels > from.at(2) ||
        !found.equal(elements.narrow(2, *first, channels).unflatten(2, {to.at(1), to.at(3)}).transpose(1, 2))) {
      first.reset();
    }
    first_channels_.emplace(key.str(), first);
    return first;
  }

  // The projection of what attention mixed, [batch, heads, tokens, size], with its tokens brought into another order before
  // and back after.
  void merge_heads_in_order(Node* linear) {
    const Path before = path_to(linear->input(0)), after = path_from(linear->output());
    const auto heads = recorded_sizes(before.from), rows = recorded_sizes(linear->input(0)),
               out = recorded_sizes(linear->output()), result = recorded_sizes(after.to);
    if (!heads || !rows || !out || !result || heads->size() != 4 || result->size() != 3 || after.moves.empty() ||
        is_output(after.to))
      return;
    if (rows->back() != heads->at(1) * heads->at(3) || result->at(0) != heads->at(0) || result->at(1) != heads->at(2))
      return;
    std::ostringstream key;
    key << *heads << *rows << *out << before.text() << ' ' << after.text();
    const auto known = orders_.find(key.str());
    const bool is_kept =
        known != orders_.end()
            ? known->second
            : orders_.emplace(key.str(), keeps_order(before, after, *heads, *rows, *out)).first->second;
    if (!is_kept) return;
    WithInsertPoint point(linear);
    const auto batch = heads->at(0), tokens = heads->at(2), channels = rows->back();
    Value* const turned =
        insert(c10::aten::transpose, {before.from, 1, 2}, {batch, tokens, heads->at(1), heads->at(3)}, before.from);
    Value* const merged = insert(c10::aten::flatten, {turned, 2, -1}, {batch, tokens, channels}, linear->input(0));
    Value* const projected =
        insert(c10::aten::linear, {merged, linear->input(1), linear->input(2)}, *result, linear->output());
    after.to->replaceAllUsesWith(projected);
  }

  // Whether token (b, t) of the result is the projection of attention's (b, :, t, :).
  static bool keeps_order(const Path& before, const Path& after, const std::vector<int64_t>& heads,
                          const std::vector<int64_t>& rows, const std::vector<int64_t>& out) {
    const auto elements = numbered(heads);
    const auto inputs = before.along(elements).reshape({-1, rows.back()});
    const auto outputs = after.along(numbered(out)).reshape({-1, out.back()});
    const auto row = outputs.select(1, 0).floor_divide(out.back());
    return outputs.equal(numbered(out).reshape({-1, out.back()}).index_select(0, row)) &&
           inputs.index_select(0, row).equal(elements.transpose(1, 2).reshape({-1, rows.back()}));
  }

  // The caller knows the outputs by their values, so these stay.
  bool is_output(const Value* value) const {
    return std::any_of(value->uses().begin(), value->uses().end(),
                       [&](const torch::jit::Use& use) { return use.user == graph_.return_node(); });
  }

  Graph& graph_;
  std::map<std::string, std::optional<int64_t>> first_channels_;
  std::map<std::string, bool> orders_;
};

}  // namespace

void straighten_layouts(Graph& graph) { Layouts(graph).run(); }

}  // namespace sightline
