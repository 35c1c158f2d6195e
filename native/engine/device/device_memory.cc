#include "engine/device/device_memory.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceGuard.h>

#include <exception>

namespace sightline {

namespace {

// Null where the device has no caching allocator, or LibTorch was built without it.
c10::DeviceAllocator* allocator_of(at::Device device) {
  if (device.is_cpu()) return nullptr;
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
  // Before CUDA's first use it knows no devices, and asking for one's figures fails.
  return allocator != nullptr && allocator->initialized() ? allocator : nullptr;
}

}  // namespace

std::optional<DeviceMemory> device_memory(at::Device device, bool reset_peak) {
  if (device.is_cpu()) return std::nullopt;
  auto* allocator = allocator_of(device);
  if (allocator == nullptr) return DeviceMemory{0, 0, 0};
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  const auto stats = allocator->getDeviceStats(device.index());
  if (reset_peak) allocator->resetPeakStats(device.index());
  return DeviceMemory{stats.allocated_bytes.at(kAll).current, stats.allocated_bytes.at(kAll).peak,
                      stats.reserved_bytes.at(kAll).current};
}

void empty_device_cache(at::Device device) noexcept {
  try {
    auto* allocator = allocator_of(device);
    if (allocator == nullptr) return;
    const c10::DeviceGuard guard(device);
    allocator->emptyCache();
  } catch (const std::exception&) {
    // Whatever is wrong with the device shows in the run that follows, and is reported there.
  }
}

}  // namespace sightline
