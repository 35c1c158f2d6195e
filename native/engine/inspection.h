// Reads a straight graph: layouts, token grid, classification head, target layer.
#pragma once

#include "engine/network.h"

namespace sightline {

NetworkInfo inspect_graph(const StraightGraph& straight, const std::vector<AttentionSite>& sites, int64_t height,
                          int64_t width);

}  // namespace sightline
