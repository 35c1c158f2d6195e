// Chefer's relevance propagation: the backward pass carries relevance in place of gradients, from the score down.
#include "engine/graph/graph_ops.h"
#include "engine/relevance/passes.h"

namespace sightline {

using torch::jit::Node;
using torch::jit::Value;

namespace {

void pass_whole(Rewrite& rewrite, Node* node, Value* x, Value* y) {
  rewrite.detach_inputs(node);
  rewrite.replace(y, rewrite.behind(node, "sightline::pass_gradient", {x, y}));
}

// To every operand x * dy/dx * relevance / y, times `factor`.
void share_in_proportion(Rewrite& rewrite, Node* node, double factor) {
  for (size_t i = 0; i < node->inputs().size(); ++i) {
    Value* x = node->input(i);
    if (!rewrite.is_active(x)) continue;
    if (is_tensor(x)) {
      node->replaceInput(i, rewrite.before(node, "sightline::relevance_from_gradient", {x, factor}));
      continue;
    }
    Node* list = x->node();
    for (size_t k = 0; k < list->inputs().size(); ++k) {
      if (!rewrite.is_active(list->input(k))) continue;
      list->replaceInput(k, rewrite.before(list, "sightline::relevance_from_gradient", {list->input(k), factor}));
    }
  }
  rewrite.replace(node->output(), rewrite.behind(node, "sightline::gradient_from_relevance", {node->output()}));
}

void propagate_layer(Rewrite& rewrite, const Affine& affine) {
  Value* x = affine.x();
  Node* sum = affine.result->node();
  rewrite.detach_inputs(affine.node);
  Value* weight = weight_before(rewrite, affine, sum);
  Value* replacement = nullptr;
  if (affine.is_convolution) {
    const auto [stride, padding, dilation, groups] = convolution_settings(affine);
    replacement = rewrite.behind(sum, "sightline::convolution_relevance",
                                 {x, affine.result, weight, stride, padding, dilation, groups});
  } else {
    replacement = rewrite.behind(sum, "sightline::linear_relevance", {x, affine.result, weight});
  }
  rewrite.replace(affine.result, replacement);
}

// A mask or a bias of attention's scores, not a summand of its own.
bool feeds_softmax(Value* value) {
  for (const auto& use : value->uses()) {
    if (is_softmax(use.user)) return true;
    if ((only_moves(use.user) || is_any_of(use.user, {"add", "mul", "div"})) && feeds_softmax(use.user->output(0)))
      return true;
  }
  return false;
}

void rewrite_sum(Rewrite& rewrite, const Rule& rule, Node* node) {
  const auto alpha = constant_of(node->input(2));
  if (!alpha || !alpha->isScalar()) refuse_operator(rule, node);
  const double factor = (is_aten(node, "sub") ? -1 : 1) * alpha->toScalar().toDouble();
  Value* a = node->input(0);
  Value* b = node->input(1);
  Value* y = node->output();
  if (rewrite.is_active(a) && rewrite.is_active(b)) {
    rewrite.detach_inputs(node);
    rewrite.replace(y, rewrite.behind(node, "sightline::sum_relevance", {a, b, y, factor}));
    return;
  }
  Value* x = rewrite.is_active(a) ? a : b;
  Value* constant = rewrite.is_active(a) ? b : a;
  // Where the constant comes first and is the one that keeps its sign, shares are the same: a proportion has no order.
  if (!is_tensor(constant) || factor != 1 || feeds_softmax(y)) return pass_whole(rewrite, node, x, y);
  rewrite.detach_inputs(node);
  rewrite.replace(y, rewrite.behind(node, "sightline::offset_relevance", {x, constant, y, factor}));
}

void rewrite_fused_attention(Rewrite& rewrite, const Rule& rule, Node* node) {
  const auto dropout = constant_of(node->input(4));
  const auto repeats_heads = constant_of(node->input(7));
  if (!dropout || dropout->toDouble() != 0.0 || !repeats_heads || repeats_heads->toBool()) refuse_operator(rule, node);
  const std::array<Value*, 3> inputs{node->input(0), node->input(1), node->input(2)};
  rewrite.detach_inputs(node);
  rewrite.replace(node->output(), rewrite.behind(node, "sightline::attention_relevance",
                                                 {inputs[0], inputs[1], inputs[2], node->output(), node->input(3),
                                                  node->input(5), node->input(6)}));
}

}  // namespace

void rewrite_relevance(Rewrite& rewrite, const Rule& rule) {
  for (Node* node : rewrite.nodes()) {
    if (is_deviation(node) && rewrite.active_operands(node) > 0) rewrite.stop(node->output());
  }
  rewrite.find_active();

  std::unordered_set<Node*> done;
  for (Node* node : rewrite.nodes()) {
    if (!rewrite.carries(node) || done.count(node) != 0) continue;
    const auto operands = rewrite.active_operands(node);
    if (only_moves(node)) continue;
    if (const auto affine = read_affine(rewrite, node)) {
      propagate_layer(rewrite, *affine);
      done.insert(affine->result->node());
    } else if (is_activation(node) || is_softmax(node) || is_normalization(node) ||
               is_any_of(node, {"batch_norm", "neg", "rsub"})) {
      pass_whole(rewrite, node, node->input(0), node->output(0));
    } else if (is_any_of(node, {"add", "sub"})) {
      rewrite_sum(rewrite, rule, node);
    } else if (is_aten(node, "scaled_dot_product_attention")) {
      rewrite_fused_attention(rewrite, rule, node);
    } else if (is_average(node)) {
      share_in_proportion(rewrite, node, 1);
    } else if ((is_matrix_product(node) || is_aten(node, "mul")) && operands == 2) {
      share_in_proportion(rewrite, node, 0.5);
    } else if (is_any_of(node, {"mul", "div"}) && operands == 1 &&
               (is_aten(node, "mul") || rewrite.is_active(node->input(0)))) {
      pass_whole(rewrite, node, rewrite.is_active(node->input(0)) ? node->input(0) : node->input(1), node->output());
    } else {
      refuse_operator(rule, node);
    }
  }
}

}  // namespace sightline
