#include "engine/graph/fused_attention.h"

#include <cmath>
#include <limits>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

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
  const auto embed = constant_of(node->input(1)), heads = constant_of(node->input(2)),
             is_gelu = constant_of(node->input(7)), norm_first = constant_of(node->input(8)),
             epsilon = constant_of(node->input(9));
  if (!embed || !heads || !is_gelu || !norm_first || !epsilon || !is_none(node->input(18))) return;
  WithInsertPoint point(node);
  Node* const before = node->prev();
  const auto inputs = node->inputs();
  const auto norm = [&](Value* x, size_t weight) {
    return insert_op(graph, "layer_norm",
                     {x, c10::IValue(std::vector<int64_t>{embed->toInt()}), inputs[weight], inputs[weight + 1],
                      epsilon->toDouble()});
  };
  const auto attend = [&](Value* x) {
    return insert_self_attention(graph, x, embed->toInt(), heads->toInt(), inputs.slice(3, 4));
  };
  const auto feed_forward = [&](Value* x) {
    Value* hidden = insert_op(graph, "linear", {x, inputs[14], inputs[15]});
    return insert_op(graph, "linear",
                     {insert_op(graph, is_gelu->toBool() ? "gelu" : "relu", {hidden}), inputs[16], inputs[17]});
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
  Value* projected =
      insert_self_attention(graph, node->input(0), embed->toInt(), heads->toInt(), node->inputs().slice(5, 4));
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

}  // namespace

void open_native_multi_head_attention(Graph& graph) { open_native_in_block(graph, graph.block()); }

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
  Value* scores = insert_op(graph, "matmul",
                            {insert_op(graph, "mul", {query, scale}), insert_op(graph, "transpose", {key, -2, -1})});
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
