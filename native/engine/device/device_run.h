// A batch's run on a device that works by itself: handed over, and not waited for.
#pragma once

#include "engine/device/replay.h"
#include "engine/device/transfer.h"
#include "engine/steps/interpreter.h"

namespace sightline {

// As `run_plan`, but the outputs and targets stay on the device, in float32 (or int64), batch axis first, and may share
// memory with one another. `asked` lies on the host, staged by `transfer`. Runs that repeat are captured and replayed.
BatchResult run_beside(const std::shared_ptr<const Plan>& plan, Network& network, Replays& replays,
                       const c10::IValue& self, const at::Tensor& images, const Asked& asked, Transfer& transfer,
                       const std::function<bool()>& cancelled);

}  // namespace sightline
