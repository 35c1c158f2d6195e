#include "engine/steps/interpreter.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "engine/cancel_points.h"
#include "engine/errors.h"
#include "engine/steps/runner.h"

namespace sightline {

at::Tensor in_float(const at::Tensor& values, const std::string& name) {
  if (values.is_complex()) {
    throw EngineError("METHOD_NOT_APPLICABLE",
                      "'" + name + "' holds complex numbers, which are not read out; name a node before or after it.");
  }
  return values.to(at::kFloat);
}

TargetShape shape_of(const Asked& asked) {
  TargetShape shape;
  shape.count = asked.targets.size(1);
  if (shape.count == 0) return shape;
  const auto has_other = asked.against != kNoClass;
  shape.is_compared = has_other.any().item<bool>();
  const auto others = at::where(has_other, asked.against, at::zeros_like(asked.against));
  shape.lowest_rank =
      std::max<int64_t>(0, -std::min(asked.targets.min().item<int64_t>(), others.min().item<int64_t>()));
  return shape;
}

DeviceResult run_on_device(const Plan& plan, Network& network, const c10::IValue& self, const at::Tensor& images,
                           const Asked& asked, const TargetShape& shape, const std::function<bool()>& cancelled) {
  at::NoGradGuard no_gradients;
  const CancelScope scope(cancelled);
  return Runner(plan, network, self, images, asked, shape, cancelled).run();
}

BatchResult to_host(const Plan& plan, const DeviceResult& result, int64_t batch) {
  BatchResult host;
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    auto values = result.outputs[i].detach();
    // Windowed attention comes as [batch * windows, ...]: split, so that every output is batch first.
    if (values.size(0) != batch) values = values.unflatten(0, {batch, values.size(0) / batch});
    values = in_float(values, plan.outputs[i].name);
    // A copy in any case: outputs may share their memory with one another, with the input, or with the weights.
    host.outputs.push_back({plan.outputs[i].name, values.to(at::kCPU, values.scalar_type(), /*non_blocking=*/false,
                                                            /*copy=*/true, at::MemoryFormat::Contiguous)});
  }
  if (result.targets.defined()) {
    host.targets = result.targets.to(at::kCPU);
    host.against = result.against.to(at::kCPU);
  }
  host.operators = result.operators;
  host.chunk = result.chunk;
  return host;
}

BatchResult run_plan(const Plan& plan, Network& network, const c10::IValue& self, const at::Tensor& images,
                     const Asked& asked, const std::function<bool()>& cancelled) {
  at::NoGradGuard no_gradients;
  const Asked there{asked.targets.to(images.device()), asked.against.to(images.device()), asked.given};
  return to_host(plan, run_on_device(plan, network, self, images, there, shape_of(asked), cancelled), images.size(0));
}

}  // namespace sightline
