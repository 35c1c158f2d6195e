#include "engine/device/device_run.h"

#include <c10/core/GradMode.h>

namespace sightline {

BatchResult run_beside(const std::shared_ptr<const Plan>& plan, Network& network, Replays& replays,
                       const c10::IValue& self, const at::Tensor& images, const Asked& asked, Transfer& transfer,
                       const std::function<bool()>& cancelled) {
  at::NoGradGuard no_gradients;
  // Looked at on the host: on the device it would have to be waited for.
  const TargetShape shape = shape_of(asked);
  // References only to what lives as long as this call: a captured run is not called again.
  const Replays::Run run = [&](const at::Tensor& batch, const at::Tensor& targets, const at::Tensor& against) {
    auto result = run_on_device(*plan, network, self, batch,
                                {targets, against.defined() ? against : targets, asked.given}, shape, cancelled);
    for (size_t i = 0; i < result.outputs.size(); ++i) {
      auto& output = result.outputs[i];
      output = output.detach();
      // Windowed attention comes as [batch * windows, ...].
      if (output.size(0) != batch.size(0))
        output = output.unflatten(0, {batch.size(0), output.size(0) / batch.size(0)});
      output = in_float(output, plan->outputs[i].name);
    }
    return result;
  };
  replays.keep_only(network.generation());
  const auto targets = transfer.send(asked.targets);
  const auto against = shape.is_compared ? transfer.send(asked.against) : at::Tensor();
  auto result =
      asked.given.empty() ? replays.run(plan, shape, images, targets, against, run) : run(images, targets, against);

  BatchResult left;
  for (size_t i = 0; i < plan->outputs.size(); ++i)
    left.outputs.push_back({plan->outputs[i].name, std::move(result.outputs[i])});
  left.targets = std::move(result.targets);
  left.against = std::move(result.against);
  left.operators = result.operators;
  left.chunk = result.chunk;
  return left;
}

}  // namespace sightline
