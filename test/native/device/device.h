// An accelerator made up for tests, in LibTorch's place for other backends: two devices with memory of their own,
// streams and events; every operator runs by the CPU's kernel.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace sightline::test {

constexpr at::DeviceIndex kDeviceCount = 2;

// Makes LibTorch know the device; once, whoever asks.
void start_device();
at::Device emulated(at::DeviceIndex index = 0);
// The calling thread's.
at::Device current_device();

// What was seen since the last reset.
struct Waits {
  // What made the host and the device wait for each other.
  std::map<std::string, int64_t> read_backs;  // by operator: values that the host asked for
  std::map<std::string, int64_t> uploads;  // by shape: copies to the device that did not come from page-locked memory
  // Uses of memory that nothing has put after another stream's, as sentences.
  std::vector<std::string> faults;
  int64_t read() const;
  std::string text() const;
};
Waits waits();
void reset_waits();

// For the device's own sources.
std::recursive_mutex& device_mutex();
void note_read_back(const std::string& name);
void note_upload(const std::string& what);
void note_fault(const std::string& sentence);

}  // namespace sightline::test
