// Runs a plan on a batch of images.
#pragma once

#include "engine/pch.h"

#include "engine/network.h"
#include "engine/plan.h"

namespace sightline {

struct BatchOutput {
  std::string name;
  at::Tensor values;  // [batch, ...], or [batch, targets, ...]; float32 (or int64), on the CPU
};

struct BatchResult {
  std::vector<BatchOutput> outputs;
  at::Tensor targets;     // [batch, targets] int64: the classes explained, ranks resolved
  int64_t operators = 0;  // of the model's graph that were run
  int64_t chunk = 0;      // samples per run of the model in the largest loop; 0 without one
};

// `images`: [batch, 3, H, W] on the model's device, in its dtype. `targets`: [batch, T] int64, a class index or -r for
// the class of rank r by score. `cancelled` is asked before each step; when it says yes, ABORTED is thrown.
// Throws EngineError STEP_FAILED with the method and the step's source line.
BatchResult run_plan(const Plan& plan, Network& network, const c10::IValue& self, const at::Tensor& images,
                     const at::Tensor& targets, const std::function<bool()>& cancelled);

}  // namespace sightline
