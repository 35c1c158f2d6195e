#include "engine/prepared_weights.h"

namespace sightline {

at::Tensor PreparedWeights::get(const std::string& how, const std::vector<at::Tensor>& sources,
                                const std::function<at::Tensor()>& prepare) {
  std::vector<const void*> addresses;
  for (const auto& source : sources) addresses.push_back(source.defined() ? source.unsafeGetTensorImpl() : nullptr);
  auto key = std::make_pair(how, std::move(addresses));
  const auto found = kept_.find(key);
  if (found != kept_.end()) return found->second;
  at::NoGradGuard no_gradients;
  auto prepared = prepare();
  bytes_ += static_cast<int64_t>(prepared.numel()) * static_cast<int64_t>(prepared.element_size());
  return kept_.emplace(std::move(key), std::move(prepared)).first->second;
}

}  // namespace sightline
