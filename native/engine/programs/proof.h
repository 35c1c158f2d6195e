// The straight graph against the archive's own forward: what differs must not be explained.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include "engine/programs/taps.h"

namespace sightline {

// Runs two random images, by the straight graph and by the archive's own, and the first of them alone: what differs then
// must not be run in batches. `tappable.master` has what the model returns as its last output. Fills in which nodes have no
// batch axis, and in `info` whether images may be batched. Throws EngineError UNSUPPORTED_MODEL.
void prove(const StraightGraph& straight, const torch::jit::Module& module, const at::Tensor& example, Tappable& tappable,
           NetworkInfo& info);

}  // namespace sightline
