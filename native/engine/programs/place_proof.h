// Whether tokens lie where reading the graph says: by experiment.
#pragma once

#include "engine/programs/taps.h"

namespace sightline {

// Puts noise into a patch of an image, twice, and looks which of the first attention's tokens it moves. Where those are others
// than `info.tokens` claims, `info` forgets all that was read of tokens.
void prove_places(const c10::IValue& self, const at::Tensor& example, const Tappable& tappable, NetworkInfo& info);

}  // namespace sightline
