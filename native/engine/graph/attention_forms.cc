#include "engine/graph/attention_forms.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/graph/graph_ops.h"
#include "engine/graph/straighten.h"

namespace sightline {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

// Every exporter writes attention within a few steps around its softmax.
constexpr int kSearchDepth = 10;

Value* insert_op(Graph& graph, const char* name, at::ArrayRef<torch::jit::NamedValue> inputs) {
  return graph.insert(c10::Symbol::fromQualString(std::string("aten::") + name), inputs);
}

bool is_none(const Value* value) {
  const auto constant = constant_of(value);
  return value->type()->kind() == c10::TypeKind::NoneType || (constant && constant->isNone());
}

// Self-attention of x [N, tokens, channels] with its projections.
Value* insert_self_attention(Graph& graph, Value* x, int64_t embed, int64_t heads, at::ArrayRef<Value*> projections) {
  Value* qkv = insert_op(graph, "linear", {x, projections[0], projections[1]});
  Value* split = insert_op(graph, "unflatten", {qkv, -1, c10::IValue(std::vector<int64_t>{3, heads, embed / heads})});
  Value* ordered = insert_op(graph, "permute", {split, c10::IValue(std::vector<int64_t>{2, 0, 3, 1, 4})});
  std::vector<Value*> parts;
  for (int64_t i = 0; i < 3; ++i) parts.push_back(insert_op(graph, "select", {ordered, 0, i}));
  Value* attended = insert_op(graph, "scaled_dot_product_attention", {parts[0], parts[1], parts[2]});
  Value* merged = insert_op(graph, "flatten", {insert_op(graph, "transpose", {attended, 1, 2}), 2, -1});
  return insert_op(graph, "linear", {merged, projections[2], projections[3]});
}

// nn.TransformerEncoderLayer as inference without gradients runs it: one operator without a derivative.
void open_one_encoder_layer(Graph& graph, Node* node) {
  const auto embed = constant_of(node->input(1)), heads = constant_of(node->input(2)), is_gelu = constant_of(node->input(7)),
             norm_first = constant_of(node->input(8)), epsilon = constant_of(node->input(9));
  if (!embed || !heads || !is_gelu || !norm_first || !epsilon || !is_none(node->input(18))) return;
  WithInsertPoint point(node);
  Node* const before = node->prev();
  const auto inputs = node->inputs();
  const auto norm = [&](Value* x, size_t weight) {
    return insert_op(graph, "layer_norm", {x, c10::IValue(std::vector<int64_t>{embed->toInt()}), inputs[weight], inputs[weight + 1], epsilon->toDouble()});
  };
  const auto attend = [&](Value* x) { return insert_self_attention(graph, x, embed->toInt(), heads->toInt(), inputs.slice(3, 4)); };
  const auto feed_forward = [&](Value* x) {
    Value* hidden = insert_op(graph, "linear", {x, inputs[14], inputs[15]});
    return insert_op(graph, "linear", {insert_op(graph, is_gelu->toBool() ? "gelu" : "relu", {hidden}), inputs[16], inputs[17]});
  };
  const auto sum = [&](Value* x, Value* y) { return insert_op(graph, "add", {x, y}); };
  Value* x = inputs[0];
  if (norm_first->toBool()) {
    x = sum(x, attend(norm(x, 10)));
    x = sum(x, feed_forward(norm(x, 12)));
  } else {
    x = norm(sum(x, attend(x)), 10);
    x = norm(sum(x, feed_forward(x)), 12);
  }
  for (Node* inserted = before->next(); inserted != node; inserted = inserted->next()) inserted->copyMetadata(node);
  node->output()->replaceAllUsesWith(x);
  node->destroy();
}

bool open_one_native_attention(Graph& graph, Node* node) {
  const auto embed = constant_of(node->input(3));
  const auto heads = constant_of(node->input(4));
  if (!embed || !heads || !embed->isInt() || !heads->isInt()) return false;
  const bool is_self_attention = node->input(0) == node->input(1) && node->input(0) == node->input(2);
  if (!is_self_attention || !is_none(node->input(9))) return false;
  if (node->outputs().size() > 1 && node->outputs()[1]->hasUses()) {
    const auto need_weights = constant_of(node->input(10));
    if (!need_weights || need_weights->toBool()) return false;
  }

  WithInsertPoint point(node);
  Node* const before = node->prev();
  Value* projected = insert_self_attention(graph, node->input(0), embed->toInt(), heads->toInt(), node->inputs().slice(5, 4));
  for (Node* inserted = before->next(); inserted != node; inserted = inserted->next()) inserted->copyMetadata(node);

  node->outputs()[0]->replaceAllUsesWith(projected);
  if (node->outputs().size() > 1) node->outputs()[1]->replaceAllUsesWith(graph.insertConstant(c10::IValue()));
  node->destroy();
  return true;
}

void open_native_in_block(Graph& graph, Block* block) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) open_native_in_block(graph, inner);
    if (is_aten(node, "_native_multi_head_attention")) {
      open_one_native_attention(graph, node);
    } else if (is_aten(node, "_transformer_encoder_layer_fwd")) {
      open_one_encoder_layer(graph, node);
    }
  }
}

bool keeps_probabilities(const Node* node) {
  return is_any_of(node, {"dropout", "to", "type_as", "contiguous", "clone", "reshape", "view", "expand", "detach"});
}

bool is_scalar(const Value* value) {
  if (!is_tensor(value)) return true;
  const auto sizes = recorded_sizes(value);
  return sizes && sizes->empty();
}

bool is_scaling(const Node* node) {
  return is_any_of(node, {"mul", "div"}) && (is_scalar(node->input(1)) || is_scalar(node->input(0)));
}

Value* scaled_operand(Node* node) { return is_scalar(node->input(1)) ? node->input(0) : node->input(1); }

// From softmax's output to the product with the values.
Node* find_value_product(Value* probabilities) {
  Value* value = probabilities;
  for (int depth = 0; depth < kSearchDepth; ++depth) {
    Node* next = nullptr;
    for (const auto& use : value->uses()) {
      if (is_any_of(use.user, {"matmul", "bmm"}) && use.offset == 0) return use.user;
      if (keeps_probabilities(use.user) && use.offset == 0) next = use.user;
    }
    if (next == nullptr) return nullptr;
    value = next->output();
  }
  return nullptr;
}

// From softmax's input back to the product of queries and keys, past scale, mask, bias and casts.
Node* find_score_product(Value* scores, int depth = 0) {
  if (depth > kSearchDepth) return nullptr;
  Node* node = scores->node();
  if (is_any_of(node, {"matmul", "bmm", "baddbmm"})) return node;
  if (is_any_of(node, {"add", "sub"})) {
    // Either side may be the bias, and a bias may itself be gathered by other operators: the products are tried.
    if (Node* found = find_score_product(node->input(0), depth + 1)) return found;
    return is_tensor(node->input(1)) ? find_score_product(node->input(1), depth + 1) : nullptr;
  }
  if (is_any_of(node, {"mul", "div"})) return find_score_product(scaled_operand(node), depth + 1);
  if (is_any_of(node, {"to", "contiguous", "reshape", "view", "masked_fill", "clamp", "float", "type_as"})) {
    return find_score_product(node->input(0), depth + 1);
  }
  return nullptr;
}

bool swaps_last_two(const Node* node, size_t rank) {
  const auto last = static_cast<int64_t>(rank) - 1;
  const auto from_end = [&](int64_t dim) { return dim < 0 ? dim + static_cast<int64_t>(rank) : dim; };
  if (is_aten(node, "transpose")) {
    const auto a = constant_of(node->input(1)), b = constant_of(node->input(2));
    if (!a || !b) return false;
    const auto low = std::min(from_end(a->toInt()), from_end(b->toInt()));
    const auto high = std::max(from_end(a->toInt()), from_end(b->toInt()));
    return low == last - 1 && high == last;
  }
  return is_any_of(node, {"mT"});
}

// The projection before scaling: timm multiplies the queries, others both.
Value* without_scale(Value* value) {
  for (int depth = 0; depth < kSearchDepth; ++depth) {
    Node* node = value->node();
    if (is_scaling(node)) {
      value = scaled_operand(node);
    } else if (is_aten(node, "contiguous")) {
      value = node->input(0);
    } else {
      return value;
    }
  }
  return value;
}

bool read_shape(AttentionSite& site, const std::vector<int64_t>& query_sizes) {
  const size_t rank = query_sizes.size();
  if (rank == 4) {
    site.windows = query_sizes[0];
    site.heads = query_sizes[1];
  } else if (rank == 3) {
    // Traced with one image, so what is folded into the batch is the heads.
    site.folded = true;
    site.heads = query_sizes[0];
  } else {
    return false;
  }
  site.tokens = query_sizes[rank - 2];
  site.keys = site.tokens;
  site.head_size = query_sizes[rank - 1];
  return true;
}

std::optional<AttentionSite> read_scaled_dot_product(Node* node) {
  AttentionSite site;
  site.form = AttentionSite::Form::ScaledDotProduct;
  site.query = node->input(0);
  site.key = node->input(1);
  site.value = node->input(2);
  site.result = node->output();
  const auto sizes = recorded_sizes(site.query);
  if (!sizes || !read_shape(site, *sizes)) return std::nullopt;
  if (const auto key_sizes = recorded_sizes(site.key)) site.keys = key_sizes->at(key_sizes->size() - 2);
  const auto causal = constant_of(node->input(5));
  if (!causal || causal->toBool()) site.opaque = "its attention is causal";
  const auto grouped = node->inputs().size() > 7 ? constant_of(node->input(7)) : std::nullopt;
  if (grouped && grouped->isBool() && grouped->toBool()) site.opaque = "its queries share keys and values in groups";
  const auto dropout = constant_of(node->input(4));
  if (!dropout || dropout->toDouble() != 0.0) site.opaque = "its attention drops out at inference";
  return site;
}

std::optional<AttentionSite> read_softmax(Node* node) {
  const auto sizes = recorded_sizes(node->output());
  if (!sizes || sizes->size() < 3) return std::nullopt;
  const auto dim = constant_of(node->input(1));
  if (!dim || (dim->toInt() != -1 && dim->toInt() != static_cast<int64_t>(sizes->size()) - 1)) return std::nullopt;
  Node* product = find_value_product(node->output());
  Node* scores = find_score_product(node->input(0));
  if (product == nullptr || scores == nullptr) return std::nullopt;

  AttentionSite site;
  site.form = AttentionSite::Form::Softmax;
  site.result = node->output();
  // Not the softmax's own scope, which is that of an nn.Softmax where there is one.
  site.name = product->scopeName();
  const size_t first = is_aten(scores, "baddbmm") ? 1 : 0;
  site.query = without_scale(scores->input(first));
  site.key = without_scale(scores->input(first + 1));
  site.value = product->input(1);
  const auto key_sizes = recorded_sizes(site.key);
  if (key_sizes && swaps_last_two(site.key->node(), key_sizes->size())) {
    site.key = without_scale(site.key->node()->input(0));
  } else {
    site.key_is_transposed = true;
  }
  const auto query_sizes = recorded_sizes(site.query);
  if (!query_sizes || !read_shape(site, *query_sizes)) return std::nullopt;
  site.keys = sizes->back();
  return site;
}

}  // namespace

void open_native_multi_head_attention(Graph& graph) { open_native_in_block(graph, graph.block()); }

std::vector<AttentionSite> find_attention(const StraightGraph& straight, int64_t& unknown) {
  std::vector<AttentionSite> sites;
  unknown = 0;
  for (Node* node : straight.graph->nodes()) {
    std::optional<AttentionSite> site;
    if (is_aten(node, "scaled_dot_product_attention")) site = read_scaled_dot_product(node);
    if (is_any_of(node, {"softmax", "_softmax", "_safe_softmax"})) site = read_softmax(node);
    if (!site) {
      const auto sizes = is_any_of(node, {"softmax", "_softmax", "_safe_softmax"}) ? recorded_sizes(node->output()) : std::nullopt;
      if (sizes && sizes->size() >= 3) ++unknown;
      continue;
    }
    if (site->name.empty()) site->name = node->scopeName();
    if (site->name.empty()) site->name = "attention[" + std::to_string(sites.size()) + "]";
    sites.push_back(*site);
  }
  return sites;
}

Value* open_scaled_dot_product(Graph& graph, Node* node, int64_t head_size, std::optional<at::ScalarType> mask_dtype,
                               std::optional<at::ScalarType> model_dtype) {
  WithInsertPoint point(node);
  Value* query = node->input(0);
  Value* key = node->input(1);
  Value* value = node->input(2);
  const bool is_half = model_dtype && *model_dtype != at::kFloat && at::isReducedFloatingType(*model_dtype);
  if (is_half) {
    for (Value** operand : {&query, &key, &value}) *operand = insert_op(graph, "to", {*operand, at::kFloat});
  }
  const auto given_scale = constant_of(node->input(6));
  const double scale = given_scale && given_scale->isDouble() ? given_scale->toDouble()
                                                              : 1.0 / std::sqrt(static_cast<double>(head_size));
  // All of it on the queries: in float32 nothing overflows, and the keys are spared a pass forwards and one backwards.
  Value* scores = insert_op(graph, "matmul", {insert_op(graph, "mul", {query, scale}), insert_op(graph, "transpose", {key, -2, -1})});
  Value* probabilities = nullptr;
  if (is_none(node->input(3))) {
    probabilities = insert_op(graph, "softmax", {scores, -1});
  } else {
    Value* mask = node->input(3);
    if (mask_dtype && *mask_dtype == at::kBool) {
      scores = insert_op(graph, "masked_fill",
                         {scores, insert_op(graph, "logical_not", {mask}), -std::numeric_limits<double>::infinity()});
    } else {
      scores = insert_op(graph, "add", {scores, mask});
    }
    // A row that is masked out whole gives zeros, not NaN.
    probabilities = insert_op(graph, "_safe_softmax", {scores, -1});
  }
  Value* output = insert_op(graph, "matmul", {probabilities, value});
  if (is_half) output = insert_op(graph, "to", {output, *model_dtype});
  node->output()->replaceAllUsesWith(output);
  node->destroy();
  return probabilities;
}

}  // namespace sightline
