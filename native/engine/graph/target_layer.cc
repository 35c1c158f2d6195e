#include "engine/graph/target_layer.h"

#include <algorithm>
#include <unordered_set>

#include "engine/graph/graph_ops.h"
#include "engine/graph/layouts.h"
#include "engine/graph/place_operators.h"

namespace sightline {

using torch::jit::Node;
using torch::jit::Value;

namespace {

constexpr int kInputSearchDepth = 24;

// What the last attention's projections read: back from its values over reshapes and one linear layer. Not from its
// queries, which rotary embeddings cut up.
std::string last_attention_input(const StraightGraph& straight, const AttentionSite& site) {
  const Value* value = site.value;
  bool projected = false;
  for (int depth = 0; depth < kInputSearchDepth; ++depth) {
    if (projected) {
      const auto name = name_of(straight, value);
      if (!name.empty()) return name;
    }
    const Node* node = value->node();
    if (node->inputs().empty() || !is_tensor(node->input(0))) {
      // A list of chunks (`unbind`) unpacked: its source is one step further.
      if (node->kind() != c10::prim::ListUnpack) return {};
      value = node->input(0)->node()->input(0);
      continue;
    }
    if (is_one_of(node, {"linear", "linear_dynamic", "linear_dynamic_fp16", "addmm", "matmul", "baddbmm"}))
      projected = true;
    if (projected && is_any_of(node, {"layer_norm"})) return name_of(straight, value);
    value = is_aten(node, "addmm") ? node->input(1) : node->input(0);
  }
  return {};
}

// The map that a model returns, and what becomes it place by place: there each place explains itself alone.
std::unordered_set<const Value*> returned_map(const StraightGraph& straight) {
  std::unordered_set<const Value*> found;
  if (straight.answer.scores.empty()) {
    for (const Value* value = straight.returned; found.insert(value).second;) {
      const Node* node = value->node();
      if (!is_any_of(node, {"upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d", "sigmoid", "tanh",
                            "softmax", "log_softmax", "contiguous", "to", "dropout", "relu", "clamp", "permute",
                            "_convolution", "conv2d"})) {
        break;
      }
      value = node->input(0);
      if (is_any_of(node, {"_convolution", "conv2d"})) break;
    }
  }
  return found;
}

int64_t channels_of(const NodeInfo& node) {
  return node.layout == Layout::ChannelsFirst ? node.sizes.at(1) : node.sizes.back();
}

}  // namespace

std::string find_target_layer(const StraightGraph& straight, const std::vector<AttentionSite>& sites,
                              const NetworkInfo& info, bool reads_class_token) {
  if (info.head && info.head->layout != Layout::Tokens) return info.head->feature;
  const auto has_space_of = [&](const std::string& name) {
    return std::any_of(info.nodes.begin(), info.nodes.end(),
                       [&](const NodeInfo& node) { return node.name == name && has_space(node); });
  };
  // Fewer queries than keys that are patches themselves were pooled from them, as in Hiera.
  const bool reads_one_token =
      !sites.empty() && (reads_class_token || (sites.back().tokens < sites.back().keys && !sites.back().grid));
  if (info.tokens || reads_one_token) {
    const auto name = last_attention_input(straight, sites.back());
    if (has_space_of(name)) return name;
  }
  const auto allowed = reads_one_token ? sources_of(sites.back().value) : std::unordered_set<const Value*>();
  const auto returned = returned_map(straight);
  std::string last;
  for (size_t i = 0; i < info.nodes.size(); ++i) {
    const Value* value = straight.nodes[i].value;
    // In a transformer never one from before its first attention, such as the patch embedding.
    if (!sites.empty() && !sites[0].result->node()->isBefore(value->node())) continue;
    if ((reads_one_token && allowed.count(value) == 0) || returned.count(value) != 0) continue;
    // One channel is a weight of each place, such as a pooling's, and no feature.
    if (has_space(info.nodes[i]) && channels_of(info.nodes[i]) > 1) last = name_of(straight, value);
  }
  return last;
}

}  // namespace sightline
