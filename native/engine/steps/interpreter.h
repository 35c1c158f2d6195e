// Runs a plan on a batch of images.
#pragma once

#include <limits>

#include "engine/programs/network.h"
#include "engine/steps/plan.h"

namespace sightline {

struct BatchOutput {
  std::string name;
  at::Tensor values;  // [batch, ...], or [batch, targets, ...]; float32, on the CPU
};

// A target that is compared with no other class.
constexpr int64_t kNoClass = std::numeric_limits<int64_t>::min();

// What is asked of a batch.
struct Asked {
  at::Tensor targets;  // [batch, targets] int64: a class index, or -r for the class of rank r by score
  at::Tensor against;  // likewise: the class whose score is subtracted, or kNoClass
  std::map<std::string, at::Tensor> given;  // what the plan's `given` steps read, [batch, ...]
};

// What has to be known of the targets beforehand, so that a run need not look at them.
struct TargetShape {
  int64_t count = 0;         // for each image
  int64_t lowest_rank = 0;   // classes that have to be ranked
  bool is_compared = false;  // whether any target has a class to be compared with
  auto operator<=>(const TargetShape&) const = default;
};
TargetShape shape_of(const Asked& asked);

// What a run leaves on the device.
struct DeviceResult {
  std::vector<at::Tensor> outputs;  // in the plan's order: [batch, ...], or [batch, targets, ...]
  at::Tensor targets, against;      // as in BatchResult; undefined without targets
  int64_t operators = 0;
  int64_t chunk = 0;
};

struct BatchResult {
  std::vector<BatchOutput> outputs;
  at::Tensor targets;     // [batch, targets] int64: the classes explained, ranks resolved
  at::Tensor against;     // [batch, targets] int64: the classes subtracted, -1 for none
  int64_t operators = 0;  // of the model's graph that were run
  int64_t chunk = 0;      // samples per run of the model in the largest loop; 0 without one
};

// `images`: [batch, 3, H, W] on the model's device, in its dtype; `asked` on that device as well. `cancelled` is asked before
// each step; when it says yes, ABORTED is thrown. A plan that is free of the host never waits for the device here.
// Throws EngineError STEP_FAILED with the method and the step's source line.
DeviceResult run_on_device(const Plan& plan, Network& network, const c10::IValue& self, const at::Tensor& images,
                           const Asked& asked, const TargetShape& shape, const std::function<bool()>& cancelled);

// An output as JavaScript gets it: float32, whatever the model computes. Whole numbers are exact up to 2^24. Throws EngineError
// METHOD_NOT_APPLICABLE for complex numbers.
at::Tensor in_float(const at::Tensor& values, const std::string& name);

// The outputs in float32 on the CPU, in memory of their own, batch axis first.
BatchResult to_host(const Plan& plan, const DeviceResult& result, int64_t batch);

// Both, for targets that lie on the CPU.
BatchResult run_plan(const Plan& plan, Network& network, const c10::IValue& self, const at::Tensor& images,
                     const Asked& asked, const std::function<bool()>& cancelled);

}  // namespace sightline
