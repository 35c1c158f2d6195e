// DeepLIFT's rescale rule: the gradient becomes the multiplier, by which a difference in the score is shared out.
//
// The graph is given two images, stacked, and computes all that depends on them twice: on the image, and on its baseline
// out of autograd's sight. At each operator that is not linear the derivative becomes the ratio of both differences.
// Operators with several parts are rescaled as the elementary functions that they are written in.
#include "engine/graph/graph_ops.h"
#include "engine/relevance/passes.h"

namespace sightline {

using torch::jit::Node;
using torch::jit::Value;

namespace {

// Of each value that depends on the image: the same on the baseline.
using Twins = std::unordered_map<const Value*, Value*>;

// What they return is the same for every image of one size.
bool is_alike_for_all(const Node* node) {
  return is_any_of(node, {"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full",
                          "new_empty", "size", "numel", "dim"});
}

// Functions of each element alone, beside the activations.
bool is_elementwise(const Node* node) {
  return is_activation(node) || is_any_of(node, {"exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "pow",
                                                 "abs", "reciprocal", "erf", "log_sigmoid", "sin", "cos"});
}

bool keeps_differences(const Rewrite& rewrite, const Node* node) {
  // Which pixel a maximum is taken from is not the same on the baseline.
  if (is_aten(node, "max_pool2d")) return false;
  if (only_moves(node) || is_average(node)) return true;
  if (is_any_of(node, {"add", "sub", "rsub", "neg", "batch_norm", "cumsum"})) return true;
  if (is_any_of(node, {"linear", "conv1d", "conv2d", "conv3d", "convolution", "_convolution", "_convolution_mode",
                       "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "mul"}) ||
      (is_matrix_product(node) && !is_aten(node, "scaled_dot_product_attention"))) {
    return rewrite.active_operands(node) == 1;
  }
  return is_aten(node, "div") && !rewrite.is_active(node->input(1));
}

class Rescaling {
 public:
  Rescaling(Rewrite& rewrite, const Rule& rule) : rewrite_(rewrite), rule_(rule) {
    Value* pair = rewrite.graph().inputs()[1];
    Node* first = *rewrite.graph().nodes().begin();
    Value* baseline = rewrite.before(first, "aten::select", {pair, 1, 1});
    baseline = rewrite.before(first, "aten::detach", {baseline});
    Value* image = rewrite.before(first, "aten::select", {pair, 1, 0});
    rewrite.replace(pair, image);
    twins_.emplace(image, baseline);
  }

  void pass(Node* node) {
    if (!depends(node) || is_alike_for_all(node)) return;
    Node* twin = rewrite_.graph().createClone(node, [&](Value* value) { return on_baseline(value); });
    twin->insertBefore(node);
    for (size_t i = 0; i < node->outputs().size(); ++i) twins_.emplace(node->output(i), twin->output(i));
    if (!rewrite_.carries(node)) return;
    if (hides_a_difference(node)) refuse_operator(rule_, node);
    if (!keeps_differences(rewrite_, node)) rescale(node);
  }

 private:
  Value* on_baseline(Value* value) const {
    const auto found = twins_.find(value);
    return found == twins_.end() ? value : found->second;
  }

  bool depends(const Node* node) const {
    for (const Value* input : node->inputs()) {
      if (twins_.count(input) != 0) return true;
    }
    return false;
  }

  // Whether an operand differs between the two images, and nothing flows back through it: a mask made of pixels, an
  // index, a detached value. Its part in the difference would be missing.
  bool hides_a_difference(const Node* node) const {
    for (const Value* input : node->inputs()) {
      if (is_tensor(input) && twins_.count(input) != 0 && !rewrite_.is_active(input)) return true;
    }
    return false;
  }

  void rescale(Node* node) {
    const int64_t active = rewrite_.active_operands(node);
    if (is_elementwise(node) && active == 1 && rewrite_.is_active(node->input(0))) {
      replace(node, "sightline::rescale_gradient", {});
    } else if (is_softmax(node)) {
      replace_detached(node, "sightline::rescale_softmax_gradient", {node->input(1)});
    } else if (is_any_of(node, {"layer_norm"}) && active == 1) {
      replace_detached(node, "sightline::rescale_layer_norm_gradient",
                       {node->input(1), node->input(2), node->input(4)});
    } else if (is_aten(node, "max_pool2d")) {
      replace_detached(node, "sightline::rescale_max_pool2d_gradient",
                       {node->input(1), node->input(2), node->input(3), node->input(4), node->input(5)});
    } else if (is_any_of(node, {"mul", "matmul", "mm", "bmm"})) {
      share_product(node, 0, 1);
    } else if (is_aten(node, "baddbmm") && !rewrite_.is_active(node->input(0))) {
      share_product(node, 1, 2);
    } else if (is_aten(node, "div") && node->inputs().size() == 2) {
      share_quotient(node);
    } else {
      refuse_operator(rule_, node);
    }
  }

  // Puts `name(x, y, x on the baseline, y on the baseline, settings)` in place of the output y of input x.
  void replace(Node* node, const char* name, const std::vector<torch::jit::NamedValue>& settings, Value* x = nullptr) {
    Value* y = node->output();
    if (x == nullptr) x = node->input(0);
    std::vector<torch::jit::NamedValue> inputs{x, y, on_baseline(x), on_baseline(y)};
    inputs.insert(inputs.end(), settings.begin(), settings.end());
    put(y, rewrite_.behind(node, name, inputs));
  }

  // The same, where the operator says the whole gradient.
  void replace_detached(Node* node, const char* name, const std::vector<torch::jit::NamedValue>& settings) {
    Value* x = node->input(0);
    rewrite_.detach_inputs(node);
    replace(node, name, settings, x);
  }

  void put(Value* y, Value* replacement) {
    twins_.emplace(replacement, on_baseline(y));
    rewrite_.replace(y, replacement);
  }

  // The mean of a value and the same on the baseline, as a constant.
  Value* middle(Node* node, Value* value) {
    Value* sum = rewrite_.before(node, "aten::add", {value, on_baseline(value)});
    return rewrite_.before(node, "aten::detach", {rewrite_.before(node, "aten::mul", {sum, 0.5})});
  }

  // The difference of a product ab is (difference of a) times (mean of b), and the other way round: what each factor
  // gains, averaged over both orders, as Shapley's value shares it. The result has that gradient, and the node's value.
  void share_product(Node* node, size_t first, size_t second) {
    Value* a = node->input(first);
    Value* b = node->input(second);
    const auto part = [&](Value* left, Value* right) {
      Node* copy = rewrite_.graph().createClone(node, [](Value* value) { return value; });
      copy->replaceInput(first, left);
      copy->replaceInput(second, right);
      copy->insertBefore(node);
      return copy->output();
    };
    Value* of_a = part(a, middle(node, b));
    Value* of_b = part(middle(node, a), b);
    rewrite_.detach_inputs(node);
    Value* shared = rewrite_.behind(node, "aten::add", {of_a, of_b});
    put(node->output(), rewrite_.behind(shared->node(), "sightline::pass_gradient", {shared, node->output()}));
  }

  // a / b is the product of a with the reciprocal of b.
  void share_quotient(Node* node) {
    Value* a = node->input(0);
    Value* b = node->input(1);
    Value* one_over = rewrite_.before(node, "aten::reciprocal", {b});
    Value* one_over_baseline = rewrite_.before(node, "aten::reciprocal", {on_baseline(b)});
    twins_.emplace(one_over, one_over_baseline);
    Value* reciprocal =
        rewrite_.before(node, "sightline::rescale_gradient", {b, one_over, on_baseline(b), one_over_baseline});
    twins_.emplace(reciprocal, one_over_baseline);
    Value* shared = rewrite_.before(node, "aten::mul", {middle(node, a), reciprocal});
    if (rewrite_.is_active(a)) {
      shared = rewrite_.before(node, "aten::add",
                               {shared, rewrite_.before(node, "aten::mul", {a, middle(node, reciprocal)})});
    }
    rewrite_.detach_inputs(node);
    put(node->output(), rewrite_.behind(node, "sightline::pass_gradient", {shared, node->output()}));
  }

  Rewrite& rewrite_;
  const Rule& rule_;
  Twins twins_;
};

}  // namespace

void rewrite_rescale(Rewrite& rewrite, const Rule& rule) {
  Rescaling rescaling(rewrite, rule);
  for (Node* node : rewrite.nodes()) rescaling.pass(node);
}

}  // namespace sightline
