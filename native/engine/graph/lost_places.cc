#include "engine/graph/lost_places.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "engine/graph/graph_ops.h"
#include "engine/graph/layouts.h"

namespace sightline {

using torch::jit::Node;
using torch::jit::Value;

namespace {

// What comes after pooling, or of one token, has no two axes left: it has lost no places.
bool looks_spatial(const Value* value) {
  const auto sizes = recorded_sizes(value);
  if (!sizes || sizes->size() < 3 || sizes->size() > 4) return false;
  return std::all_of(sizes->end() - 2, sizes->end(), [](int64_t size) { return size > 1; });
}

// Back along what is lost to where it was first.
const Node* first_loss(const Value* lost, const Places& places) {
  std::unordered_set<const Value*> seen{lost};
  std::vector<const Value*> queue{lost};
  const Node* first = lost->node();
  while (!queue.empty()) {
    const Node* node = queue.back()->node();
    queue.pop_back();
    if (node->kind() != c10::prim::ListConstruct && node->isBefore(first)) first = node;
    for (const Value* input : node->inputs()) {
      if (places.is_lost(input) && seen.insert(input).second) queue.push_back(input);
    }
  }
  return first;
}

}  // namespace

std::optional<LostPlaces> find_lost_places(const StraightGraph& straight, const Places& places,
                                           const std::string& layer) {
  const Value* from = straight.image;
  for (const auto& node : straight.nodes) {
    if (node.name == layer) from = node.value;
  }
  const auto leading = sources_of(straight.answer.source);
  for (const auto& node : straight.nodes) {
    if (!places.is_lost(node.value) || !looks_spatial(node.value) || leading.count(node.value) == 0) continue;
    if (sources_of(node.value).count(from) == 0) continue;
    const Node* first = first_loss(node.value, places);
    return LostPlaces{module_near(straight, first), operator_name(first)};
  }
  return std::nullopt;
}

}  // namespace sightline
