// Reads a straight graph: layouts, token grid, classification head, target layer.
#pragma once

#include "engine/network.h"

namespace sightline {

// May give the pooled feature a name in `straight`, where it has none.
NetworkInfo inspect_graph(StraightGraph& straight, const std::vector<AttentionSite>& sites, int64_t height,
                          int64_t width);

}  // namespace sightline
