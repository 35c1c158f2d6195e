#include "engine/graph/layouts.h"

#include "engine/graph/convolution_node.h"
#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Value;

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

std::optional<at::Tensor> constant_tensor(const Value* value) {
  const auto constant = constant_of(value);
  if (!constant || !constant->isTensor()) return std::nullopt;
  return constant->toTensor();
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
  const auto tokens = places.tokens(value, 1);
  if (!tokens) return std::nullopt;
  return PatchGrid{tokens->height, tokens->width, tokens->prefix, tokens->suffix};
}

const char* layout_name(Layout layout) {
  switch (layout) {
    case Layout::Tokens: return "tokens";
    case Layout::ChannelsFirst: return "channels-first";
    case Layout::ChannelsLast: return "channels-last";
    case Layout::Vector: return "vector";
    default: return "other";
  }
}

}  // namespace sightline
