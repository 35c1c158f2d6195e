// The layer that CAM methods explain unless another is named.
#pragma once

#include <string>
#include <vector>

#include "engine/graph/attention_forms.h"
#include "engine/graph/facts.h"
#include "engine/graph/straighten.h"

namespace sightline {

// A pooled head's feature; else what the last attention reads; else the last feature with space. Where only one token is read
// behind the last attention, never a layer behind it: its patches have no part in the answer. Empty where there is none.
// `reads_class_token`: whether that token is one that was among the patches all the way.
std::string find_target_layer(const StraightGraph& straight, const std::vector<AttentionSite>& sites,
                              const NetworkInfo& info, bool reads_class_token);

}  // namespace sightline
