// From the host to where a computation goes on.
#pragma once

#include <ATen/core/Tensor.h>

namespace sightline {

// `host`, a tensor of the CPU, on `device`. The host goes on at once: the copy is made from page-locked memory, which
// LibTorch's allocator keeps until it is done.
inline at::Tensor upload(const at::Tensor& host, at::Device device) {
  return device.is_cpu() ? host : host.contiguous().pin_memory().to(device, /*non_blocking=*/true);
}

}  // namespace sightline
