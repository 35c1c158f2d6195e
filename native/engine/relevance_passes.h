// The passes behind relevance.h, one for each rule.
#pragma once

#include "engine/relevance_graph.h"

namespace sightline {

void rewrite_guided_backprop(Rewrite& rewrite, const Rule& rule);
void rewrite_deconvnet(Rewrite& rewrite, const Rule& rule);

}  // namespace sightline
