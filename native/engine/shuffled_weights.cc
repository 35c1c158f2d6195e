#include "engine/shuffled_weights.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randperm.h>
#include <c10/core/GradMode.h>

#include "engine/errors.h"

namespace sightline {

void shuffle_weights(torch::jit::Module& module, uint64_t seed) {
  at::NoGradGuard no_gradients;
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  bool has_any = false;
  for (at::Tensor tensor : module.parameters()) {
    if (!tensor.defined() || !tensor.is_floating_point() || tensor.is_quantized() || tensor.numel() < 2) continue;
    const auto order = at::randperm(tensor.numel(), generator, at::kLong).to(tensor.device());
    tensor.set_requires_grad(false);
    // Into memory of its own: a mapped file stays what it is, and so does what another tensor shares with this one.
    tensor.set_data(tensor.flatten().index_select(0, order).view(tensor.sizes()));
    has_any = true;
  }
  if (has_any) return;
  throw EngineError(
      "METHOD_NOT_APPLICABLE",
      "The weights cannot be shuffled: they are constants of the graph, as in frozen and quantized models.");
}

}  // namespace sightline
