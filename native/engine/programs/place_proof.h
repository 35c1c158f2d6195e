// Whether tokens lie where reading the graph says: by experiment.
#pragma once

#include <optional>

#include "engine/programs/lone_run.h"
#include "engine/programs/taps.h"

namespace sightline {

// The values of the image without noise that the two proofs below begin from, as outputs of `Tappable::master`; none where there
// is nothing to prove.
std::optional<size_t> value_for_places(const Tappable& tappable, const NetworkInfo& info);
std::optional<size_t> value_for_orders(const Tappable& tappable, const NetworkInfo& info);

// Puts noise into a patch of an image, twice, and looks which of the first attention's tokens it moves. Where those are others
// than `info.tokens` claims, `info` forgets all that was read of tokens.
void prove_places(const c10::IValue& self, const LoneRun& lone, const Tappable& tappable, NetworkInfo& info);

// The same of the first node whose patches are said to lie in another order than that of rows; if it fails, no such node has
// places.
void prove_orders(const c10::IValue& self, const LoneRun& lone, const Tappable& tappable, NetworkInfo& info);

}  // namespace sightline
