// Reads a straight graph: layouts, token grid, classification head, target layer.
#pragma once

#include "engine/graph/attention_forms.h"
#include "engine/graph/facts.h"
#include "engine/graph/places.h"
#include "engine/graph/straighten.h"

namespace sightline {

// May give the pooled feature a name in `straight`, where it has none.
NetworkInfo inspect_graph(StraightGraph& straight, const Places& places, const std::vector<AttentionSite>& sites,
                          int64_t height, int64_t width);

}  // namespace sightline
