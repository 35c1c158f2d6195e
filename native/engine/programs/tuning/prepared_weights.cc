#include "engine/programs/tuning/prepared_weights.h"

#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

namespace sightline {

at::Tensor PreparedWeights::get(const std::string& how, const std::vector<at::Tensor>& sources,
                                const std::function<at::Tensor()>& prepare) {
  std::vector<const void*> addresses;
  for (const auto& source : sources) addresses.push_back(source.defined() ? source.unsafeGetTensorImpl() : nullptr);
  auto key = std::make_pair(how, std::move(addresses));
  const auto found = kept_.find(key);
  if (found != kept_.end()) return found->second.prepared;
  at::NoGradGuard no_gradients;
  auto prepared = prepare();
  const auto bytes = static_cast<int64_t>(prepared.numel()) * static_cast<int64_t>(prepared.element_size());
  bytes_ += bytes;
  Entry entry{{}, std::move(prepared), bytes};
  // A source that was ready as it was is kept by being the result.
  for (const auto& source : sources) {
    if (source.defined() && !source.is_same(entry.prepared)) entry.sources.push_back(source);
  }
  return kept_.emplace(std::move(key), std::move(entry)).first->second.prepared;
}

void PreparedWeights::drop_unused() {
  // What goes may have held what it was made from.
  for (bool is_any = true; is_any;) {
    is_any = false;
    for (auto it = kept_.begin(); it != kept_.end();) {
      if (it->second.prepared.use_count() > 1) {
        ++it;
        continue;
      }
      bytes_ -= it->second.bytes;
      it = kept_.erase(it);
      is_any = true;
    }
  }
}

}  // namespace sightline
