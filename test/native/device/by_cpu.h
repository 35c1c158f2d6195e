// Operators of the emulated device, run by the CPU's kernels.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <map>
#include <set>
#include <string>

#include "device/memory.h"
#include "device/streams.h"

namespace sightline::test {

// Tensors of one call as the CPU's kernels see them, and what they made as the device's. Tensors that share a storage
// on one side share one on the other. It is a piece of work on the current stream, which has to have caught up.
class Lent {
 public:
  Lent(at::Device device, std::string name);

  // A tensor whose values are neither read nor written.
  at::Tensor view_on_cpu(const at::Tensor& tensor);
  at::Tensor to_cpu(const at::Tensor& tensor, Use use = Use::Read);
  at::Tensor to_device(const at::Tensor& tensor);
  // Sizes and storages that the call changed, as `resize_` does.
  void settle();

 private:
  c10::Storage cpu_storage(const c10::Storage& storage);
  c10::Storage device_storage(const c10::Storage& storage);
  c10::DataPtr new_memory(const void* from, size_t bytes) const;
  at::Device device_;
  std::string name_;
  Turn turn_;
  std::set<c10::StorageImpl*> hidden_;                            // that the stream has not waited for
  std::map<c10::StorageImpl*, c10::Storage> on_cpu_, on_device_;  // by the other side's
  std::vector<std::pair<at::Tensor, at::Tensor>> tensors_;        // the device's, the CPU's
};

// A boxed kernel. Throws where an argument lies elsewhere, but for 0-dimensional CPU tensors.
void run_by_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack);

}  // namespace sightline::test
