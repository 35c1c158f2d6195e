#include "engine/shuffled_weights.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randperm.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "engine/errors.h"

namespace sightline {

namespace {

bool is_below(const std::string& parameter, const std::string& layer) {
  return parameter.size() > layer.size() && parameter.compare(0, layer.size(), layer) == 0 &&
         parameter[layer.size()] == '.';
}

bool has_order(const at::Tensor& tensor) {
  return tensor.defined() && tensor.is_floating_point() && !tensor.is_quantized() && tensor.numel() > 1;
}

}  // namespace

void shuffle_weights(torch::jit::Module& module, const Shuffling& shuffling) {
  at::NoGradGuard no_gradients;
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(shuffling.seed);
  bool has_any = false;
  std::vector<bool> is_found(shuffling.layers.size(), false);
  for (const auto& parameter : module.named_parameters()) {
    at::Tensor tensor = parameter.value;
    if (!has_order(tensor)) continue;
    has_any = true;
    // Drawn for those that stay too, so that cascading steps shuffle what they share alike.
    const auto order = at::randperm(tensor.numel(), generator, at::kLong);
    bool is_chosen = shuffling.layers.empty();
    for (size_t i = 0; i < shuffling.layers.size(); ++i) {
      if (!is_below(parameter.name, shuffling.layers[i])) continue;
      is_found[i] = true;
      is_chosen = true;
    }
    if (!is_chosen) continue;
    tensor.set_requires_grad(false);
    // Into memory of its own: a mapped file stays what it is, and so does what another tensor shares with this one.
    tensor.set_data(tensor.flatten().index_select(0, order.to(tensor.device())).view(tensor.sizes()));
  }
  if (!has_any) {
    throw EngineError(
        "METHOD_NOT_APPLICABLE",
        "The weights cannot be shuffled: they are constants of the graph, as in frozen and quantized models.");
  }
  const auto missing = std::find(is_found.begin(), is_found.end(), false);
  if (missing == is_found.end()) return;
  throw EngineError("UNKNOWN_NODE", "The weights of '" +
                                        shuffling.layers[static_cast<size_t>(missing - is_found.begin())] +
                                        "' cannot be shuffled: no parameter belongs to a layer of that path.");
}

}  // namespace sightline
