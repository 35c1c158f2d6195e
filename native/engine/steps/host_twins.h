// Numbers on the device that the host knows as well.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

namespace sightline {

// Numbers of samples, counts of clusters: what the host has made itself need not be read back, for which it would wait
// for all that the device has to do.
class HostTwins {
 public:
  // `here` holds the values of `there`. Nothing is kept where `there` lies on the host itself.
  void add(const at::Tensor& there, const at::Tensor& here) {
    if (!there.is_cpu()) pairs_.emplace_back(there, here);
  }
  // Null where the host does not know `there`.
  const at::Tensor* find(const at::Tensor& there) const {
    for (const auto& [known, here] : pairs_) {
      if (known.is_same(there)) return &here;
    }
    return nullptr;
  }
  // On the CPU; waits for the device only where the host does not know it.
  at::Tensor on_host(const at::Tensor& there) const {
    const auto* here = find(there);
    return here != nullptr ? *here : there.cpu();
  }

  size_t size() const { return pairs_.size(); }
  // Lets those go that were added since there were `count`.
  void shrink(size_t count) { pairs_.resize(count); }

 private:
  // They keep the tensors: another one at the same address would be taken for it.
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs_;
};

}  // namespace sightline
