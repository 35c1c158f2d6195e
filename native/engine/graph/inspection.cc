#include "engine/graph/inspection.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <deque>
#include <unordered_set>

#include "engine/graph/convolution_node.h"
#include "engine/graph/flops.h"
#include "engine/graph/gradient_paths.h"
#include "engine/graph/graph_ops.h"
#include "engine/graph/layouts.h"
#include "engine/graph/lost_places.h"
#include "engine/graph/pooled_head.h"
#include "engine/graph/residual_stream.h"
#include "engine/graph/target_layer.h"

namespace sightline {

using torch::jit::Node;
using torch::jit::Value;

namespace {

constexpr int kHeadSearchDepth = 24;

// What a convolution or a batch norm adds to each channel.
at::Tensor channel_bias(const Node* node) {
  if (is_convolution(node)) return constant_tensor(node->input(2)).value_or(at::Tensor());
  if (!is_aten(node, "batch_norm")) return {};
  const auto mean = constant_tensor(node->input(3)), variance = constant_tensor(node->input(4));
  const auto epsilon = constant_of(node->input(7));
  if (!mean || !variance || !epsilon) return {};
  auto scale = (variance->to(at::kFloat) + epsilon->toDouble()).rsqrt();
  if (const auto gamma = constant_tensor(node->input(1))) scale = scale * gamma->to(at::kFloat);
  const auto shift = -mean->to(at::kFloat) * scale;
  const auto beta = constant_tensor(node->input(2));
  return beta ? shift + beta->to(at::kFloat) : shift;
}

// Where the tokens of attention over the whole image lie: of all of it, where they are the same; else, if `of_last_alone`, of the
// last.
std::optional<TokenInfo> find_tokens(const StraightGraph& straight, const std::vector<AttentionSite>& sites,
                                     const Places& places, bool of_last_alone) {
  const AttentionSite* global = nullptr;
  // Class attention (CaiT) and attention pooling have one query: the patches are the tokens of self-attention.
  for (const auto& site : sites) {
    if (of_last_alone) {
      if (site.windows == 1 && site.grid) global = &site;
      continue;
    }
    if (site.tokens != site.keys) continue;
    if (site.windows != 1 || (global != nullptr && site.tokens != global->tokens)) return std::nullopt;
    if (global == nullptr) global = &site;
  }
  if (global == nullptr) return std::nullopt;
  const int64_t tokens = global->tokens;
  const auto sizes = recorded_sizes(global->query);
  const auto found_places = places.tokens(global->query, static_cast<int64_t>(sizes->size()) - 2);
  if (!found_places) return std::nullopt;
  std::optional<TokenInfo> info =
      TokenInfo{found_places->height, found_places->width, found_places->prefix, found_places->suffix, std::nullopt};

  // Back from the scores to where tokens are first dropped: by selecting one, or by their mean.
  std::deque<std::pair<const Value*, int>> queue{{straight.answer.source, 0}};
  std::unordered_set<const Value*> seen;
  bool found = false;
  // Where a class token and a mean are read side by side, as in DINOv2, the token is what rows are of.
  while (!queue.empty() && !info->class_token) {
    const auto [value, depth] = queue.front();
    queue.pop_front();
    if (depth > kHeadSearchDepth || !seen.insert(value).second) continue;
    const Node* node = value->node();
    for (const Value* input : node->inputs()) {
      if (input->type()->isSubtypeOf(*c10::ListType::ofTensors())) queue.emplace_back(input, depth + 1);
      if (!is_tensor(input)) continue;
      bool drops = false;
      const auto sizes = recorded_sizes(input);
      if (sizes && sizes->size() == 3 && sizes->at(1) == tokens) {
        if (is_aten(node, "select")) {
          const auto index = constant_of(node->input(2));
          if (index) info->class_token = index->toInt();
          drops = true;
        } else if (is_aten(node, "slice")) {
          // One token is the class token; fewer than all are the patches alone, whose mean follows.
          const auto out = recorded_sizes(value);
          const int64_t kept = out && out->size() == 3 ? out->at(1) : tokens;
          if (kept == 1) {
            const auto start = constant_of(node->input(2));
            info->class_token = start && start->isInt() ? start->toInt() : 0;
          }
          drops = kept != tokens;
        } else if (is_aten(node, "mean")) {
          drops = true;
        }
        found = found || drops;
        if (drops) break;
      }
      queue.emplace_back(input, depth + 1);
    }
  }
  // The first token is likely; only an experiment can tell (`prove_read_token`).
  if (!found && info->prefix > 0) info->class_token = 0;
  info->is_read_known = found || info->prefix + info->suffix == 0;
  if (info->class_token && *info->class_token < 0) *info->class_token += tokens;
  if (info->prefix + info->suffix == 0) info->class_token.reset();
  return info;
}

bool is_made_from(const Value* value, const Node* made) {
  std::unordered_set<const Node*> seen;
  std::vector<const Node*> queue{value->node()};
  while (!queue.empty()) {
    const Node* node = queue.back();
    queue.pop_back();
    if (node == made) return true;
    // What stands before it cannot read it.
    if (node->kind() == c10::prim::Param || node->isBefore(made) || !seen.insert(node).second) continue;
    for (const Value* input : node->inputs()) queue.push_back(input->node());
  }
  return false;
}

// Whether one attention does not follow the one before it: two stand side by side in a block; or the heads of one, each of which
// reads the one before, though all add to channels of their own.
bool has_parallel_attention(const std::vector<AttentionSite>& sites) {
  for (size_t i = 0; i + 1 < sites.size(); ++i) {
    const Node* made = sites[i].result->node();
    if (!is_made_from(sites[i + 1].query, made)) return true;
    const Value* added_to = find_residual_stream(sites[i + 1]).residual;
    if (added_to != nullptr && !is_made_from(added_to, made)) return true;
    const bool is_in_one_module = !sites[i].product->node()->scopeName().empty() && sites[i].name == sites[i + 1].name;
    if (is_in_one_module && find_residual_stream(sites[i]).residual_mid == nullptr) return true;
  }
  return false;
}

}  // namespace

NetworkInfo inspect_graph(StraightGraph& straight, const Places& places, const std::vector<AttentionSite>& sites,
                          int64_t height, int64_t width) {
  NetworkInfo info{};
  info.channels = recorded_sizes(straight.image)->at(1);
  info.height = height;
  info.width = width;
  info.outputs = straight.outputs;
  info.output = straight.output;
  info.scores = straight.answer.scores;
  info.activation = straight.answer.activation;
  info.output_sizes = *recorded_sizes(straight.answer.logits);
  info.classes = info.output_sizes.size() == 2 ? info.output_sizes[1] : 0;
  info.has_module_names = straight.has_module_names;
  info.is_quantized = straight.is_quantized;
  info.was_training = straight.was_training;
  info.tokens = find_tokens(straight, sites, places, false);
  info.has_parallel_attention = has_parallel_attention(sites);
  if (info.classes > 0) info.head = find_pooled_head(straight, places);
  const GradientPaths gradients(straight);
  info.gradient_obstacle = gradients.obstacle(straight.image);
  const FlopCount flops(*straight.graph);
  info.flops = flops.total();
  // A module that passes on what another made (a Sequential, an Identity) adds no bias of its own.
  std::unordered_set<const Value*> made;
  for (const auto& node : straight.nodes) {
    NodeInfo entry{node.name,
                   recorded_sizes(node.value).value_or(std::vector<int64_t>{}),
                   layout_of(node.value, places),
                   std::nullopt,
                   operator_name(node.value->node()),
                   made.insert(node.value).second ? channel_bias(node.value->node()) : at::Tensor(),
                   flops.after(node.value),
                   flops.bytes_after(node.value),
                   gradients.obstacle(node.value)};
    // How it is pooled is the surest sign of a layout.
    if (info.head && node.name == info.head->feature) entry.layout = info.head->layout;
    if (entry.layout == Layout::Tokens) entry.grid = grid_of(node.value, places);
    info.nodes.push_back(std::move(entry));
  }
  for (const auto& site : sites) {
    info.attention.push_back({site.name,
                              site.form == AttentionSite::Form::ScaledDotProduct ? "scaled-dot-product" : "softmax",
                              site.heads,
                              site.tokens,
                              site.keys,
                              site.head_size,
                              site.windows,
                              site.unsupported,
                              site.altered,
                              flops.after_probabilities(site),
                              flops.bytes_after(site.result),
                              gradients.obstacle(site.result),
                              {},
                              {},
                              false});
  }
  const auto read = info.tokens ? info.tokens : find_tokens(straight, sites, places, true);
  info.target_layer = find_target_layer(straight, sites, info, read && read->class_token);
  // What a pooled head averages is all that is read.
  if (!info.head || info.head->layout == Layout::Tokens)
    info.places_lost_at = find_lost_places(straight, places, info.target_layer);
  if (info.places_lost_at) info.target_layer.clear();
  for (const Node* node : straight.graph->nodes()) {
    if (node->kind() == c10::prim::Constant) continue;
    ++info.operators;
    for (const Value* output : node->outputs()) info.activation_bytes += recorded_bytes(output);
  }
  return info;
}

}  // namespace sightline
