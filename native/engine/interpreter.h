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

// A target that is compared with no other class.
constexpr int64_t kNoClass = std::numeric_limits<int64_t>::min();

// What is asked of a batch.
struct Asked {
  at::Tensor targets;  // [batch, targets] int64: a class index, or -r for the class of rank r by score
  at::Tensor against;  // likewise: the class whose score is subtracted, or kNoClass
  std::map<std::string, at::Tensor> given;  // what the plan's `given` steps read, [batch, ...]
};

struct BatchResult {
  std::vector<BatchOutput> outputs;
  at::Tensor targets;     // [batch, targets] int64: the classes explained, ranks resolved
  at::Tensor against;     // [batch, targets] int64: the classes subtracted, -1 for none
  int64_t operators = 0;  // of the model's graph that were run
  int64_t chunk = 0;      // samples per run of the model in the largest loop; 0 without one
};

// `images`: [batch, 3, H, W] on the model's device, in its dtype. `cancelled` is asked before each step; when it says yes,
// ABORTED is thrown.
// Throws EngineError STEP_FAILED with the method and the step's source line.
BatchResult run_plan(const Plan& plan, Network& network, const c10::IValue& self, const at::Tensor& images,
                     const Asked& asked, const std::function<bool()>& cancelled);

}  // namespace sightline
