#include "engine/graph/layouts.h"

#include <algorithm>

#include "engine/graph/convolution_node.h"
#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Node;
using torch::jit::Value;

Layout layout_of(const Value* value, const Places& places) {
  const auto sizes = recorded_sizes(value);
  if (!sizes || sizes->empty() || places.is_of_pairs(value)) return Layout::Other;
  // Several rows of one image, such as its windows, or the image and its mirror image: only an order of patches tells of them.
  if (sizes->at(0) != 1) return grid_of(value, places) ? Layout::Tokens : Layout::Other;
  if (sizes->size() == 2) return Layout::Vector;
  // One place is all of the image, wherever its axes stand: an operator for images has its channels first.
  if (sizes->size() == 4 && places.is_map(value, 2, 3)) return Layout::ChannelsFirst;
  if (sizes->size() == 4 && places.is_map(value, 1, 2)) return Layout::ChannelsLast;
  return grid_of(value, places) ? Layout::Tokens : Layout::Other;
}

std::optional<at::Tensor> constant_tensor(const Value* value) {
  const auto constant = constant_of(value);
  if (!constant || !constant->isTensor()) return std::nullopt;
  return constant->toTensor();
}

std::string module_near(const StraightGraph& straight, const Node* node) {
  if (!node->scopeName().empty()) return node->scopeName();
  for (const auto& named : straight.nodes) {
    const auto sources = sources_of(named.value);
    const auto outputs = node->outputs();
    if (std::any_of(outputs.begin(), outputs.end(), [&](const Value* output) { return sources.count(output) != 0; }))
      return named.name;
  }
  return "";
}

std::string name_of(const StraightGraph& straight, const Value* value) {
  std::string best;
  for (const auto& node : straight.nodes) {
    if (node.value != value) continue;
    if (best.empty() || node.name.size() < best.size()) best = node.name;
  }
  return best;
}

std::string operator_name(const torch::jit::Node* node) {
  std::string name = node->kind().toUnqualString();
  if (is_convolution(node)) return "conv2d";
  return name.empty() || name.front() != '_' ? name : name.substr(1);
}

bool has_space(const NodeInfo& node) {
  const auto& s = node.sizes;
  if (node.layout == Layout::ChannelsFirst) return s[2] * s[3] > 1;
  if (node.layout == Layout::ChannelsLast) return s[1] * s[2] > 1;
  return node.layout == Layout::Tokens && node.grid.has_value();
}

std::optional<PatchGrid> grid_of(const Value* value, const Places& places) {
  const auto sizes = recorded_sizes(value);
  if (!sizes || sizes->size() < 3) return std::nullopt;
  // Several windows of one image that stand on the first axis are no images.
  const auto tokens = sizes->size() == 3 && sizes->at(0) == 1 ? places.tokens(value, 1) : std::nullopt;
  if (tokens) return PatchGrid{tokens->height, tokens->width, tokens->prefix, tokens->suffix};
  auto order = places.order(value);
  if (!order) return std::nullopt;
  const auto patches = order->height * order->width;
  const auto others = static_cast<int64_t>(order->entries.size()) - patches;
  return PatchGrid{order->height, order->width, 0, others, std::move(order->entries)};
}

const char* layout_name(Layout layout) {
  switch (layout) {
    case Layout::Tokens:
      return "tokens";
    case Layout::ChannelsFirst:
      return "channels-first";
    case Layout::ChannelsLast:
      return "channels-last";
    case Layout::Vector:
      return "vector";
    default:
      return "other";
  }
}

}  // namespace sightline
