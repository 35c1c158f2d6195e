// Which tokens the scores are made of: by experiment.
#pragma once

#include <optional>
#include <vector>

#include "engine/programs/lone_run.h"
#include "engine/programs/taps.h"

namespace sightline {

// Where a run is cut for it, as outputs of `Tappable::master`.
struct TailCut {
  size_t site, attended;
  std::vector<size_t> beside;  // what else the scores are computed from
  std::vector<size_t> outputs() const;
};

// Makes outputs of what crosses the cut; none where there is nothing to find out.
std::optional<TailCut> cut_tail(Tappable& tappable, const NetworkInfo& info);

// Puts noise into rows of the last attention between tokens and looks whether the scores move. After it each token is
// computed alone, so the tokens that move them are those that the head reads. Where the graph tells none, this finds the
// class token. Where it tells one that moves nothing, `info.tokens->is_read_known` becomes false.
void prove_read_token(const c10::IValue& self, const LoneRun& lone, const Tappable& tappable, const TailCut& cut,
                      NetworkInfo& info);

}  // namespace sightline
