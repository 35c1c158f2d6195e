// What LibTorch's allocator holds on a GPU.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <optional>

namespace sightline {

// Bytes of one device: in tensors now, in tensors at most since the last reset, and taken from the driver (tensors and
// the allocator's cache). What other processes, the CUDA context and libraries' own workspaces take is in none of them.
struct DeviceMemory {
  int64_t allocated, peak, reserved;
};

// Any thread. None on the CPU, whose allocator does not count. All zero before anything was put on the device.
// `reset_peak`: the peak starts again from what is allocated now, after it was read.
std::optional<DeviceMemory> device_memory(at::Device device, bool reset_peak);

// Gives what the allocator keeps for later back to the driver; does nothing on the CPU. Never throws: it is called where
// something has failed already.
void empty_device_cache(at::Device device) noexcept;

}  // namespace sightline
