// Where a model's features stop to tell which place of the image they belong to.
#pragma once

#include <optional>

#include "engine/graph/facts.h"
#include "engine/graph/places.h"
#include "engine/graph/straighten.h"

namespace sightline {

// The operator at which places were lost, where features with axes like space, but of unknown places, are computed from
// `layer` and lead to the answer; `layer` is no honest default then, as it lies before them. An empty `layer` is the image.
std::optional<LostPlaces> find_lost_places(const StraightGraph& straight, const Places& places,
                                           const std::string& layer);

}  // namespace sightline
