// AttnLRP and CP-LRP in their efficient form: local gradients are altered so that gradient times value is relevance.
#include "engine/graph/graph_ops.h"
#include "engine/relevance/passes.h"

namespace sightline {

using torch::jit::NamedValue;
using torch::jit::Node;
using torch::jit::Value;

namespace {

// Layers that the gamma rule alters. Attention's own projections keep their gradient, as in the authors' models, where
// gamma is for the layers outside attention.
std::vector<Affine> layers_with_gamma(const Rewrite& rewrite, const Rule& rule) {
  std::vector<Affine> layers;
  for (Node* node : rewrite.nodes()) {
    if (!rewrite.carries(node)) continue;
    const auto affine = read_affine(rewrite, node);
    if (!affine) continue;
    if ((affine->is_convolution ? rule.convolution_gamma : rule.linear_gamma) == 0) continue;
    if (!affine->is_convolution &&
        (feeds_attention(rewrite, affine->result) || comes_from_attention(rewrite, affine->x())))
      continue;
    layers.push_back(*affine);
  }
  return layers;
}

void rewrite_layer(Rewrite& rewrite, const Rule& rule, const Affine& affine) {
  Value* x = affine.x();
  Node* sum = affine.result->node();
  rewrite.detach_inputs(affine.node);
  Value* weight = weight_before(rewrite, affine, sum);
  const NamedValue bias = affine.bias != nullptr ? NamedValue(affine.bias) : NamedValue(c10::IValue());
  if (affine.is_convolution) {
    const auto [stride, padding, dilation, groups] = convolution_settings(affine);
    rewrite.replace(affine.result, rewrite.behind(sum, "sightline::gamma_convolution_gradient",
                                                  {x, affine.result, weight, bias, rule.convolution_gamma, stride,
                                                   padding, dilation, groups}));
  } else {
    rewrite.replace(affine.result, rewrite.behind(sum, "sightline::gamma_linear_gradient",
                                                  {x, affine.result, weight, bias, rule.linear_gamma}));
  }
}

void rewrite_normalization(Rewrite& rewrite, Node* node) {
  Value* x = node->input(0);
  Value* y = node->output(0);
  Value* replacement = nullptr;
  rewrite.detach_inputs(node);
  if (is_any_of(node, {"layer_norm", "native_layer_norm"})) {
    replacement =
        rewrite.behind(node, "sightline::layer_norm_gradient", {x, y, node->input(1), node->input(2), node->input(4)});
  } else if (is_aten(node, "group_norm")) {
    replacement =
        rewrite.behind(node, "sightline::group_norm_gradient", {x, y, node->input(1), node->input(2), node->input(4)});
  } else {
    replacement =
        rewrite.behind(node, "sightline::rms_norm_gradient", {x, y, node->input(1), node->input(2), node->input(3)});
  }
  rewrite.replace(y, replacement);
}

// CP-LRP: nothing flows through the probabilities of attention into queries and keys.
void stop_probabilities(Rewrite& rewrite) {
  for (Node* node : rewrite.nodes()) {
    if (is_aten(node, "scaled_dot_product_attention")) {
      for (size_t i : {0, 1}) {
        if (rewrite.is_active(node->input(i))) {
          node->replaceInput(i, rewrite.before(node, "sightline::stop_gradient", {node->input(i)}));
        }
      }
    } else if (is_softmax(node) && rewrite.is_active(node->input(0)) && feeds_attention(rewrite, node->output())) {
      node->replaceInput(0, rewrite.before(node, "sightline::stop_gradient", {node->input(0)}));
    }
  }
}

// CP-LRP: of a product of two tensors, the one that an activation made is a gate, and taken as a weight.
void stop_gates(Rewrite& rewrite) {
  const auto is_gate = [](const Value* value) {
    const Node* node = value->node();
    while (only_moves(node) && !node->inputs().empty()) node = node->input(0)->node();
    return is_activation(node);
  };
  for (Node* node : rewrite.nodes()) {
    if (!is_aten(node, "mul") || rewrite.active_operands(node) < 2) continue;
    const bool first = is_gate(node->input(0)), second = is_gate(node->input(1));
    if (first == second) continue;
    const size_t gate = first ? 0 : 1;
    node->replaceInput(gate, rewrite.before(node, "sightline::stop_gradient", {node->input(gate)}));
  }
}

bool is_linear(const Rewrite& rewrite, const Node* node) {
  if (only_moves(node) || is_average(node) || is_softmax(node)) return true;
  if (is_any_of(node, {"add", "sub", "rsub", "neg", "batch_norm", "cumsum", "amax"})) return true;
  if (is_any_of(node, {"linear", "conv1d", "conv2d", "conv3d", "convolution", "_convolution", "_convolution_mode"}) ||
      is_matrix_product(node)) {
    return rewrite.active_operands(node) == 1;
  }
  if (is_aten(node, "mul")) return rewrite.active_operands(node) == 1;
  return is_aten(node, "div") && !rewrite.is_active(node->input(1));
}

}  // namespace

void rewrite_gradient_times_input(Rewrite& rewrite, const Rule& rule) {
  const auto layers = layers_with_gamma(rewrite, rule);
  for (Node* node : rewrite.nodes()) {
    if (is_deviation(node) && rewrite.active_operands(node) > 0) rewrite.stop(node->output());
  }
  if (rule.name == "cp-lrp") {
    stop_probabilities(rewrite);
    stop_gates(rewrite);
  }
  rewrite.find_active();

  for (Node* node : rewrite.nodes()) {
    if (!rewrite.carries(node)) continue;
    if (is_activation(node)) {
      Value* x = node->input(0);
      rewrite.detach_inputs(node);
      rewrite.replace(node->output(), rewrite.behind(node, "sightline::pass_ratio", {x, node->output()}));
    } else if (is_normalization(node)) {
      rewrite_normalization(rewrite, node);
    } else if (is_aten(node, "scaled_dot_product_attention") && rewrite.active_operands(node) > 1) {
      // Half for the product with the values, half of the rest for that of queries and keys.
      for (size_t i = 0; i < 3; ++i) {
        if (!rewrite.is_active(node->input(i))) continue;
        node->replaceInput(i, rewrite.before(node, "sightline::scale_gradient", {node->input(i), i == 2 ? 0.5 : 0.25}));
      }
    } else if ((is_matrix_product(node) || is_aten(node, "mul")) && rewrite.active_operands(node) > 1) {
      if (rewrite.active_operands(node) > 2) refuse_operator(rule, node);
      rewrite.replace(node->output(), rewrite.behind(node, "sightline::scale_gradient", {node->output(), 0.5}));
    } else if (!is_linear(rewrite, node)) {
      refuse_operator(rule, node);
    }
  }
  // Last, since replacing a layer's input would hide what stands behind it.
  for (const Affine& affine : layers) {
    if (rewrite.carries(affine.node)) rewrite_layer(rewrite, rule, affine);
  }
}

}  // namespace sightline
