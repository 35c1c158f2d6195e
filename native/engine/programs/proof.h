// The straight graph against the archive's own forward: what differs must not be explained.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <cstddef>
#include <vector>

#include "engine/programs/lone_run.h"
#include "engine/programs/taps.h"

namespace sightline {

// Runs two random images by the straight graph. The second must come out as by the archive's own forward; the first is run
// alone too, and what differs then must not be run in batches. `tappable.master` has what the model returns as its last output.
// Fills in which nodes have no batch axis, and in `info` whether images may be batched; `for_one_image`: they may not, so one is
// run. Returns the run of the first alone, with the outputs `kept` of `tappable.master`. Throws EngineError UNSUPPORTED_MODEL.
LoneRun prove(const StraightGraph& straight, const torch::jit::Module& module, const at::Tensor& example,
              Tappable& tappable, NetworkInfo& info, const std::vector<size_t>& kept, bool for_one_image = false);

}  // namespace sightline
