#include "engine/graph/inspection.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <unordered_set>

#include "engine/graph/flops.h"
#include "engine/graph/graph_ops.h"
#include "engine/graph/places.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

namespace {

constexpr int kSearchDepth = 24;

bool is_convolution(const Node* node) { return is_any_of(node, {"_convolution", "conv2d"}); }

// As followed through the graph; `Other` where a value's axes are not those of an image, or are not known.
Layout layout_of(const Value* value, const Places& places) {
  const auto sizes = recorded_sizes(value);
  if (!sizes || places.is_of_pairs(value)) return Layout::Other;
  if (sizes->size() == 2) return Layout::Vector;
  if (sizes->size() == 3) return places.tokens(value, 1) ? Layout::Tokens : Layout::Other;
  if (sizes->size() != 4) return Layout::Other;
  // One place is all of the image, wherever its axes stand: an operator for images has its channels first.
  if (places.is_map(value, 2, 3)) return Layout::ChannelsFirst;
  return places.is_map(value, 1, 2) ? Layout::ChannelsLast : Layout::Other;
}

const Value* through(const Value* value, std::initializer_list<const char*> names) {
  for (int depth = 0; depth < kSearchDepth && is_any_of(value->node(), names); ++depth) value = value->node()->input(0);
  return value;
}

std::optional<at::Tensor> constant_tensor(const Value* value) {
  const auto constant = constant_of(value);
  if (!constant || !constant->isTensor()) return std::nullopt;
  return constant->toTensor();
}

struct LinearHead {
  const Value* input;
  at::Tensor weight, bias;
};

std::optional<LinearHead> read_linear(const Value* logits) {
  const Value* output = through(logits, {"dropout", "dropout_", "to", "contiguous", "flatten", "squeeze", "reshape", "view"});
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
    const auto kernel = constant_of(node->input(1)), padding = constant_of(node->input(3)), divisor = constant_of(node->input(6));
    return kernel && padding && divisor && divisor->isNone() && kernel->toIntVector() == std::vector<int64_t>{in->at(2), in->at(3)} &&
           padding->toIntVector() == std::vector<int64_t>{0, 0};
  }
  const auto dims = constant_of(node->input(1));
  if (!dims || !dims->isIntList()) return false;
  std::set<int64_t> axes;
  for (const int64_t dim : dims->toIntVector()) axes.insert(dim < 0 ? dim + static_cast<int64_t>(in->size()) : dim);
  switch (layout) {
    case Layout::ChannelsFirst: return axes == std::set<int64_t>{2, 3};
    case Layout::ChannelsLast: return axes == std::set<int64_t>{1, 2};
    case Layout::Tokens: return axes == std::set<int64_t>{1};
    default: return false;
  }
}

std::string operator_name(const Node* node) {
  std::string name = node->kind().toUnqualString();
  if (is_convolution(node)) return "conv2d";
  return name.empty() || name.front() != '_' ? name : name.substr(1);
}

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

std::string name_of(const StraightGraph& straight, const Value* value) {
  std::string best;
  for (const auto& node : straight.nodes) {
    if (node.value != value) continue;
    if (best.empty() || node.name.size() < best.size()) best = node.name;
  }
  return best;
}

std::optional<PooledHead> find_pooled_head(StraightGraph& straight, const Places& places) {
  const auto linear = read_linear(straight.answer.source);
  if (!linear) return std::nullopt;
  const Value* pooled =
      through(linear->input, {"dropout", "dropout_", "feature_dropout", "flatten", "reshape", "view", "squeeze", "contiguous", "to"});
  const Node* pool = pooled->node();
  if (pool->inputs().empty() || !is_tensor(pool->input(0))) return std::nullopt;
  const Value* feature = pool->input(0);
  Layout layout = layout_of(feature, places);
  if (!averages_space(pool, layout)) return std::nullopt;
  const auto sizes = recorded_sizes(feature);
  // The mean of one place is no explanation of where.
  if (layout != Layout::Tokens && c10::multiply_integers(*sizes) == sizes->at(layout == Layout::ChannelsFirst ? 1 : 3)) return std::nullopt;
  const int64_t channels = layout == Layout::ChannelsFirst ? sizes->at(1) : sizes->back();
  if (linear->weight.dim() != 2 || linear->weight.size(1) != channels) return std::nullopt;
  std::string name = name_of(straight, feature);
  // Torchvision's Swin permutes between its last norm and the pooling: the pooled value has no module of its own.
  if (name.empty() && is_aten(feature->node(), "permute")) {
    const Value* before = feature->node()->input(0);
    name = name_of(straight, before);
    layout = layout_of(before, places);
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

// Where the tokens of global attention lie.
std::optional<TokenInfo> find_tokens(const StraightGraph& straight, const std::vector<AttentionSite>& sites, const Places& places) {
  const AttentionSite* global = nullptr;
  // Class attention (CaiT) and attention pooling have one query: the patches are the tokens of self-attention.
  for (const auto& site : sites) {
    if (site.tokens != site.keys) continue;
    if (site.windows != 1 || (global != nullptr && site.tokens != global->tokens)) return std::nullopt;
    if (global == nullptr) global = &site;
  }
  if (global == nullptr) return std::nullopt;
  const int64_t tokens = global->tokens;
  const auto sizes = recorded_sizes(global->query);
  const auto found_places = places.tokens(global->query, static_cast<int64_t>(sizes->size()) - 2);
  if (!found_places) return std::nullopt;
  std::optional<TokenInfo> info = TokenInfo{found_places->height, found_places->width, found_places->prefix, found_places->suffix, std::nullopt};

  // Back from the scores to where tokens are first dropped: by selecting one, or by their mean.
  std::deque<std::pair<const Value*, int>> queue{{straight.answer.source, 0}};
  std::unordered_set<const Value*> seen;
  bool found = false;
  while (!queue.empty() && !found) {
    const auto [value, depth] = queue.front();
    queue.pop_front();
    if (depth > kSearchDepth || !seen.insert(value).second) continue;
    const Node* node = value->node();
    for (const Value* input : node->inputs()) {
      if (!is_tensor(input)) continue;
      const auto sizes = recorded_sizes(input);
      if (sizes && sizes->size() == 3 && sizes->at(1) == tokens) {
        if (is_aten(node, "select")) {
          const auto index = constant_of(node->input(2));
          if (index) info->class_token = index->toInt();
          found = true;
        } else if (is_aten(node, "slice")) {
          // One token is the class token; fewer than all are the patches alone, whose mean follows.
          const auto out = recorded_sizes(value);
          const int64_t kept = out && out->size() == 3 ? out->at(1) : tokens;
          if (kept == 1) {
            const auto start = constant_of(node->input(2));
            info->class_token = start && start->isInt() ? start->toInt() : 0;
          }
          found = kept != tokens;
        } else if (is_aten(node, "mean")) {
          found = true;
        }
        if (found) break;
      }
      queue.emplace_back(input, depth + 1);
    }
  }
  if (!found && info->prefix > 0) info->class_token = 0;
  if (info->class_token && *info->class_token < 0) *info->class_token += tokens;
  if (info->prefix + info->suffix == 0) info->class_token.reset();
  return info;
}

// Whether one attention does not read what the one before it made, as where two stand side by side in a block.
bool has_parallel_attention(const Graph& graph, const std::vector<AttentionSite>& sites) {
  for (size_t i = 0; i + 1 < sites.size(); ++i) {
    std::unordered_set<const Value*> behind{sites[i].result};
    for (const Node* node : graph.nodes()) {
      const auto inputs = node->inputs();
      if (std::any_of(inputs.begin(), inputs.end(), [&](const Value* input) { return behind.count(input) != 0; })) behind.insert(node->outputs().begin(), node->outputs().end());
    }
    if (behind.count(sites[i + 1].query) == 0) return true;
  }
  return false;
}

// What the last attention's projections read: back from its values over reshapes and one linear layer. Not from its
// queries, which rotary embeddings cut up.
std::string last_attention_input(const StraightGraph& straight, const AttentionSite& site) {
  const Value* value = site.value;
  bool projected = false;
  for (int depth = 0; depth < kSearchDepth; ++depth) {
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
    if (is_any_of(node, {"linear", "addmm", "matmul", "baddbmm"})) projected = true;
    if (projected && is_any_of(node, {"layer_norm"})) return name_of(straight, value);
    value = is_aten(node, "addmm") ? node->input(1) : node->input(0);
  }
  return {};
}

bool has_space(const NodeInfo& node) {
  const auto& s = node.sizes;
  if (node.layout == Layout::ChannelsFirst) return s[2] * s[3] > 1;
  if (node.layout == Layout::ChannelsLast) return s[1] * s[2] > 1;
  return node.layout == Layout::Tokens && node.grid.has_value();
}

std::optional<PatchGrid> grid_of(const Value* value, const Places& places) {
  const auto tokens = places.tokens(value, 1);
  if (!tokens) return std::nullopt;
  return PatchGrid{tokens->height, tokens->width, tokens->prefix, tokens->suffix};
}

// The last feature with space; in a transformer never one from before its first attention, such as the patch embedding.
std::string last_spatial_feature(const StraightGraph& straight, const std::vector<AttentionSite>& sites,
                                 const std::vector<NodeInfo>& nodes) {
  std::string last;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Value* value = straight.nodes[i].value;
    if (!sites.empty() && !sites[0].result->node()->isBefore(value->node())) continue;
    if (has_space(nodes[i])) last = name_of(straight, value);
  }
  return last;
}

}  // namespace

const char* layout_name(Layout layout) {
  switch (layout) {
    case Layout::Tokens: return "tokens";
    case Layout::ChannelsFirst: return "channels-first";
    case Layout::ChannelsLast: return "channels-last";
    case Layout::Vector: return "vector";
    default: return "other";
  }
}

NetworkInfo inspect_graph(StraightGraph& straight, const std::vector<AttentionSite>& sites, int64_t height,
                          int64_t width) {
  NetworkInfo info{};
  const Places places(*straight.graph, straight.image, height, width);
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
  info.tokens = find_tokens(straight, sites, places);
  info.has_parallel_attention = has_parallel_attention(*straight.graph, sites);
  if (info.classes > 0) info.head = find_pooled_head(straight, places);
  const FlopCount flops(*straight.graph);
  info.flops = flops.total();
  // A module that passes on what another made (a Sequential, an Identity) adds no bias of its own.
  std::unordered_set<const Value*> made;
  for (const auto& node : straight.nodes) {
    NodeInfo entry{node.name, recorded_sizes(node.value).value_or(std::vector<int64_t>{}),
                   layout_of(node.value, places), std::nullopt, operator_name(node.value->node()),
                   made.insert(node.value).second ? channel_bias(node.value->node()) : at::Tensor(),
                   flops.after(node.value), flops.bytes_after(node.value)};
    // How it is pooled is the surest sign of a layout.
    if (info.head && node.name == info.head->feature) entry.layout = info.head->layout;
    if (entry.layout == Layout::Tokens) entry.grid = grid_of(node.value, places);
    info.nodes.push_back(std::move(entry));
  }
  for (const auto& site : sites) {
    info.attention.push_back({site.name,
                              site.form == AttentionSite::Form::ScaledDotProduct ? "scaled-dot-product" : "softmax",
                              site.heads, site.tokens, site.keys, site.head_size, site.windows, site.opaque,
                              flops.after_probabilities(site), flops.bytes_after(site.result), {}, {}});
  }
  if (info.head && info.head->layout != Layout::Tokens) info.target_layer = info.head->feature;
  if (info.target_layer.empty() && info.tokens) info.target_layer = last_attention_input(straight, sites.back());
  if (info.target_layer.empty()) info.target_layer = last_spatial_feature(straight, sites, info.nodes);
  for (const Node* node : straight.graph->nodes()) {
    if (node->kind() == c10::prim::Constant) continue;
    ++info.operators;
    for (const Value* output : node->outputs()) info.activation_bytes += recorded_bytes(output);
  }
  return info;
}

}  // namespace sightline
