#include "engine/graph/flops.h"

#include <algorithm>
#include <array>
#include <map>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

namespace {

using Sizes = std::vector<int64_t>;

std::optional<Sizes> sizes_of(const Value* value) {
  if (const auto recorded = recorded_sizes(value)) return recorded;
  const auto constant = constant_of(value);
  if (!constant || !constant->isTensor() || !constant->toTensor().defined()) return std::nullopt;
  return constant->toTensor().sizes().vec();
}

int64_t product(const Sizes& sizes) {
  int64_t result = 1;
  for (const int64_t size : sizes) result *= size;
  return result;
}

// Every number of the output is a sum over one window of the input; of a transposed convolution every number of the input
// is spread over one window of the output.
std::optional<int64_t> multiplications_of_convolution(const Node* node, bool is_transposed) {
  const auto from = sizes_of(node->input(0)), weight = sizes_of(node->input(1)), to = sizes_of(node->output());
  if (!from || !weight || !to || weight->empty() || weight->at(0) == 0) return std::nullopt;
  return product(is_transposed ? *from : *to) * (product(*weight) / weight->at(0));
}

// Every number of the output is a sum over the last axis of `left`.
std::optional<int64_t> multiplications_of_product(const Node* node, const Value* left) {
  const auto from = sizes_of(left), to = sizes_of(node->output());
  if (!from || !to || from->empty()) return std::nullopt;
  return product(*to) * from->back();
}

// Of the scores and of the sum of values alike, where a head's values are as long as its keys.
std::optional<std::array<int64_t, 2>> multiplications_of_attention(const Node* node) {
  const auto query = sizes_of(node->input(0)), key = sizes_of(node->input(1)), to = sizes_of(node->output());
  if (!query || !key || !to || query->empty() || key->size() < 2 || to->empty() || to->back() == 0) return std::nullopt;
  const int64_t keys = key->at(key->size() - 2);
  return std::array<int64_t, 2>{product(*to) / to->back() * keys * query->back(), product(*to) * keys};
}

// Of two tensors: one multiplication for every combination of the places of all axes.
std::optional<int64_t> multiplications_of_einsum(const Node* node) {
  const auto equation = constant_of(node->input(0));
  const Node* list = node->input(1)->node();
  if (!equation || !equation->isString() || list->kind() != c10::prim::ListConstruct) return std::nullopt;
  if (list->inputs().size() < 2) return 0;
  if (list->inputs().size() > 2) return std::nullopt;
  std::map<char, int64_t> axes;
  size_t operand = 0, axis = 0;
  for (const char letter : equation->toStringRef()) {
    if (letter == ' ') continue;
    if (letter == '.') return std::nullopt;
    if (letter == '-') break;
    if (letter == ',') {
      if (++operand > 1) return std::nullopt;
      axis = 0;
      continue;
    }
    const auto sizes = sizes_of(list->input(operand));
    if (!sizes || axis >= sizes->size()) return std::nullopt;
    // An axis of one place is broadcast.
    axes[letter] = std::max(axes[letter], sizes->at(axis++));
  }
  int64_t result = 1;
  for (const auto& [letter, size] : axes) result *= size;
  return result;
}

// Zero for whatever is not counted; none where it should be counted and cannot be.
std::optional<int64_t> multiplications_of(const Node* node) {
  if (is_any_of(node, {"conv1d", "conv2d", "conv3d"})) return multiplications_of_convolution(node, false);
  if (is_any_of(node, {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}))
    return multiplications_of_convolution(node, true);
  if (is_any_of(node, {"_convolution", "convolution"})) {
    const auto transposed = constant_of(node->input(6));
    if (!transposed || !transposed->isBool()) return std::nullopt;
    return multiplications_of_convolution(node, transposed->toBool());
  }
  if (is_any_of(node, {"linear", "matmul", "mm", "bmm", "mv", "dot"}))
    return multiplications_of_product(node, node->input(0));
  if (is_any_of(node, {"addmm", "baddbmm", "addmv"})) return multiplications_of_product(node, node->input(1));
  if (is_aten(node, "scaled_dot_product_attention")) {
    const auto both = multiplications_of_attention(node);
    if (!both) return std::nullopt;
    return both->at(0) + both->at(1);
  }
  if (is_aten(node, "einsum")) return multiplications_of_einsum(node);
  if (is_any_of(node,
                {"_native_multi_head_attention", "_transformer_encoder_layer_fwd", "addbmm", "tensordot", "bilinear"}))
    return std::nullopt;
  // Their weights are packed, in a form of the processor's own.
  if (node->kind().ns() == c10::Symbol::fromQualString("namespaces::quantized")) {
    const std::string name = node->kind().toUnqualString();
    for (const char* part : {"conv", "linear", "matmul"}) {
      if (name.find(part) != std::string::npos) return std::nullopt;
    }
  }
  return 0;
}

void collect_constants(Block* block, std::map<const void*, int64_t>& numbers) {
  for (Node* node : block->nodes()) {
    for (Block* inner : node->blocks()) collect_constants(inner, numbers);
    if (node->kind() != c10::prim::Constant) continue;
    const auto constant = constant_of(node->output());
    if (!constant || !constant->isTensor()) continue;
    const auto tensor = constant->toTensor();
    if (!tensor.defined() || !tensor.is_floating_point() || tensor.dim() == 0) continue;
    bool is_learned = false;
    for (const auto& use : node->output()->uses()) {
      is_learned = is_learned || !(is_aten(use.user, "batch_norm") && (use.offset == 3 || use.offset == 4));
    }
    if (is_learned) numbers[tensor.data_ptr()] = tensor.numel();
  }
}

}  // namespace

FlopCount::FlopCount(const Graph& graph) {
  for (const Node* node : graph.nodes()) {
    Operator entry;
    for (const Value* input : node->inputs()) {
      if (const auto made_by = places_.find(input->node()); made_by != places_.end())
        entry.reads.push_back(made_by->second);
    }
    const auto count = multiplications_of(node);
    if (!count) is_complete_ = false;
    entry.cost.flops = 2 * count.value_or(0);
    for (const Value* output : node->outputs()) entry.cost.bytes += recorded_bytes(output);
    places_[node] = operators_.size();
    operators_.push_back(std::move(entry));
  }
}

std::optional<int64_t> FlopCount::total() const {
  if (!is_complete_) return std::nullopt;
  int64_t sum = 0;
  for (const auto& each : operators_) sum += each.cost.flops;
  return sum;
}

FlopCount::Cost FlopCount::cost_after(const Value* value) const {
  // Asked of every layer: places in a list cost much less than values in a set.
  std::vector<bool> is_after(operators_.size(), false);
  size_t first = operators_.size();
  for (const auto& use : value->uses()) {
    const auto reader = places_.find(use.user);
    if (reader == places_.end()) continue;  // what the graph returns
    is_after[reader->second] = true;
    first = std::min(first, reader->second);
  }
  Cost sum;
  for (size_t i = first; i < operators_.size(); ++i) {
    const auto& [reads, cost] = operators_[i];
    if (!is_after[i])
      is_after[i] = std::any_of(reads.begin(), reads.end(), [&](size_t read) { return is_after[read]; });
    if (!is_after[i]) continue;
    sum.flops += cost.flops;
    sum.bytes += cost.bytes;
  }
  return sum;
}

std::optional<int64_t> FlopCount::after(const Value* value) const {
  if (!is_complete_) return std::nullopt;
  return cost_after(value).flops;
}

int64_t FlopCount::bytes_after(const Value* value) const { return cost_after(value).bytes; }

std::optional<int64_t> FlopCount::after_probabilities(const AttentionSite& site) const {
  const auto rest = after(site.result);
  if (!rest || site.form == AttentionSite::Form::Softmax) return rest;
  const auto both = multiplications_of_attention(site.result->node());
  if (!both) return std::nullopt;
  return *rest + 2 * both->at(1);
}

std::optional<int64_t> count_parameters(const Module& module, Graph& original, bool is_quantized) {
  if (is_quantized) return std::nullopt;
  int64_t sum = 0;
  for (const auto& tensor : module.parameters()) sum += tensor.numel();
  if (sum > 0) return sum;
  std::map<const void*, int64_t> numbers;
  collect_constants(original.block(), numbers);
  for (const auto& [place, count] : numbers) sum += count;
  return sum;
}

}  // namespace sightline
