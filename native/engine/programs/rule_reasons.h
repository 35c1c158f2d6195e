// Which rules of the backward pass can be followed through a model.
#pragma once

#include <map>
#include <string>

#include "engine/programs/taps.h"

namespace sightline {

// Tries every rule on a copy of the graph, without a run. By the name of each that cannot be followed: why, as a sentence.
std::map<std::string, std::string> broken_rules(const Tappable& tappable);

}  // namespace sightline
