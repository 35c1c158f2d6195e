// The memory of the emulated device: host memory that the host cannot touch by the addresses that tensors hold.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/Device.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "device/streams.h"

namespace sightline::test {

// Figures of one emulated device.
struct MemoryFigures {
  int64_t allocated = 0;    // bytes in storages now
  int64_t peak = 0;         // bytes in storages at most, since the last reset
  int64_t allocations = 0;  // since the last reset
};
MemoryFigures memory_figures(at::DeviceIndex device = 0);
void reset_memory_figures(at::DeviceIndex device = 0);
// From now on no device has more bytes in storages than that: what asks for more is told that memory is out.
void limit_memory(std::optional<int64_t> bytes);

// Where kernels find what lies at `address` of the device. The address itself is mapped without any rights: whoever
// reads or writes there ends the process.
void* kernel_address(const void* address);

// New memory holds nobody's values, and so does freed memory: every byte is 0xFF, which is NaN in each float type.
constexpr int kNobodysValue = 0xFF;
// As LibTorch's allocator for CUDA: memory is of the stream that asks for it, and may be another tensor's as soon as it
// is freed, for that stream's work. If other streams use it, they have to be noted.
c10::Allocator* device_allocator();
// Notes that `stream` uses the memory, so that it is not another's before that stream has done its work.
void note_stream(const void* address, const StreamKey& stream);

enum class Use { Read, Write };
// Whether `turn` comes after whatever else has written this memory, and read it if this is a write. A fault otherwise.
bool note_use(const void* address, const Turn& turn, Use use, const std::string& by);

// Page-locked memory, as far as an emulation goes: it knows which memory is its own, and holds nobody's values at
// first.
c10::Allocator* pinned_allocator();
bool is_pinned_memory(const void* address);

}  // namespace sightline::test
