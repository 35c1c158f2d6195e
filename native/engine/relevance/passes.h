// The passes behind relevance.h, one for each rule.
#pragma once

#include "engine/relevance/rewrite.h"

namespace sightline {

void rewrite_guided_backprop(Rewrite& rewrite, const Rule& rule);
void rewrite_deconvnet(Rewrite& rewrite, const Rule& rule);
// "attn-lrp" and "cp-lrp".
void rewrite_gradient_times_input(Rewrite& rewrite, const Rule& rule);
// "lrp".
void rewrite_relevance(Rewrite& rewrite, const Rule& rule);
// "deeplift".
void rewrite_rescale(Rewrite& rewrite, const Rule& rule);

}  // namespace sightline
