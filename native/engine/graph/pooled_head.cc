#include "engine/graph/pooled_head.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include <set>

#include "engine/graph/convolution_node.h"
#include "engine/graph/graph_ops.h"
#include "engine/graph/layouts.h"

namespace sightline {

using torch::jit::Node;
using torch::jit::Value;

namespace {

constexpr int kPoolingSearchDepth = 24;

const Value* through(const Value* value, std::initializer_list<const char*> names) {
  for (int depth = 0; depth < kPoolingSearchDepth && is_any_of(value->node(), names); ++depth)
    value = value->node()->input(0);
  return value;
}

struct LinearHead {
  const Value* input;
  at::Tensor weight, bias;
};

std::optional<LinearHead> read_linear(const Value* logits) {
  const Value* output =
      through(logits, {"dropout", "dropout_", "to", "contiguous", "flatten", "squeeze", "reshape", "view"});
  const Node* node = output->node();
  if (is_aten(node, "linear")) {
    const auto weight = constant_tensor(node->input(1));
    if (!weight) return std::nullopt;
    return LinearHead{node->input(0), *weight, constant_tensor(node->input(2)).value_or(at::Tensor())};
  }
  if (is_aten(node, "addmm")) {
    const Value* transposed = node->input(2);
    if (is_any_of(transposed->node(), {"t", "transpose", "numpy_T"})) {
      const auto weight = constant_tensor(transposed->node()->input(0));
      if (!weight) return std::nullopt;
      return LinearHead{node->input(1), *weight, constant_tensor(node->input(0)).value_or(at::Tensor())};
    }
    const auto weight = constant_tensor(transposed);
    if (!weight) return std::nullopt;
    return LinearHead{node->input(1), weight->t(), constant_tensor(node->input(0)).value_or(at::Tensor())};
  }
  if (is_convolution(node)) {
    const auto weight = constant_tensor(node->input(1));
    if (!weight || weight->dim() != 4 || weight->size(2) != 1 || weight->size(3) != 1) return std::nullopt;
    return LinearHead{node->input(0), weight->flatten(1), constant_tensor(node->input(2)).value_or(at::Tensor())};
  }
  return std::nullopt;
}

bool averages_space(const Node* node, Layout layout) {
  if (!is_any_of(node, {"adaptive_avg_pool2d", "avg_pool2d", "mean"})) return false;
  const auto in = recorded_sizes(node->input(0));
  const auto out = recorded_sizes(node->output());
  if (!in || !out) return false;
  if (is_any_of(node, {"adaptive_avg_pool2d", "avg_pool2d"})) {
    if (in->size() != 4 || out->size() != 4 || out->at(2) != 1 || out->at(3) != 1) return false;
    if (is_aten(node, "adaptive_avg_pool2d")) return true;
    // A window that leaves places out, counts padding or divides by another number is no mean over all of them.
    const auto kernel = constant_of(node->input(1)), padding = constant_of(node->input(3)),
               divisor = constant_of(node->input(6));
    return kernel && padding && divisor && divisor->isNone() &&
           kernel->toIntVector() == std::vector<int64_t>{in->at(2), in->at(3)} &&
           padding->toIntVector() == std::vector<int64_t>{0, 0};
  }
  const auto dims = constant_of(node->input(1));
  if (!dims || !dims->isIntList()) return false;
  std::set<int64_t> axes;
  for (const int64_t dim : dims->toIntVector()) axes.insert(dim < 0 ? dim + static_cast<int64_t>(in->size()) : dim);
  switch (layout) {
    case Layout::ChannelsFirst:
      return axes == std::set<int64_t>{2, 3};
    case Layout::ChannelsLast:
      return axes == std::set<int64_t>{1, 2};
    case Layout::Tokens:
      return axes == std::set<int64_t>{1};
    default:
      return false;
  }
}

}  // namespace

std::optional<PooledHead> find_pooled_head(StraightGraph& straight, const Places& places) {
  const auto linear = read_linear(straight.answer.source);
  if (!linear) return std::nullopt;
  const Value* pooled = through(linear->input, {"dropout", "dropout_", "feature_dropout", "flatten", "reshape", "view",
                                                "squeeze", "contiguous", "to"});
  const Node* pool = pooled->node();
  if (pool->inputs().empty() || !is_tensor(pool->input(0))) return std::nullopt;
  const Value* feature = pool->input(0);
  Layout layout = layout_of(feature, places);
  if (!averages_space(pool, layout)) return std::nullopt;
  const auto sizes = recorded_sizes(feature);
  // The mean of one place is no explanation of where.
  if (layout != Layout::Tokens && c10::multiply_integers(*sizes) == sizes->at(layout == Layout::ChannelsFirst ? 1 : 3))
    return std::nullopt;
  const int64_t channels = layout == Layout::ChannelsFirst ? sizes->at(1) : sizes->back();
  if (linear->weight.dim() != 2 || linear->weight.size(1) != channels) return std::nullopt;
  std::string name = name_of(straight, feature);
  // Torchvision's Swin permutes between its last norm and the pooling: the pooled value has no module of its own.
  if (name.empty() && is_aten(feature->node(), "permute")) {
    const Value* before = feature->node()->input(0);
    name = name_of(straight, before);
    // Without a name either, the permuted value is the feature, in its own layout.
    if (!name.empty()) layout = layout_of(before, places);
  }
  // DenseNet's last relu is a function and no module; the feature that is averaged still needs a name.
  if (name.empty()) {
    name = "pooled_feature";
    straight.nodes.push_back({name, const_cast<Value*>(feature)});
  }
  // No is the opposite of yes.
  const auto both = [&](const at::Tensor& yes) { return yes.defined() ? at::cat({-yes, yes}) : yes; };
  if (straight.answer.scores == "yes-or-no") return PooledHead{name, layout, both(linear->weight), both(linear->bias)};
  return PooledHead{name, layout, linear->weight, linear->bias};
}

}  // namespace sightline
