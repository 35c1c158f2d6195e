// The linear layer on a spatially averaged feature, which makes CAM exact.
#pragma once

#include <optional>

#include "engine/graph/facts.h"
#include "engine/graph/places.h"
#include "engine/graph/straighten.h"

namespace sightline {

// May give the pooled feature a name in `straight`, where it has none.
std::optional<PooledHead> find_pooled_head(StraightGraph& straight, const Places& places);

}  // namespace sightline
