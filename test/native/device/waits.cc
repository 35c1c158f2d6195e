// What is counted, for all emulated devices together.
#include <numeric>

#include "device/device.h"

namespace sightline::test {

namespace {

std::mutex waits_mutex;
Waits& noted() {
  static auto* all = new Waits;
  return *all;
}

}  // namespace

int64_t Waits::read() const {
  return std::accumulate(read_backs.begin(), read_backs.end(), int64_t{0},
                         [](int64_t sum, const auto& each) { return sum + each.second; });
}

std::string Waits::text() const {
  std::string text;
  for (const auto& [name, count] : read_backs) text += name + " " + std::to_string(count) + "; ";
  for (const auto& [name, count] : uploads) text += "upload " + name + " " + std::to_string(count) + "; ";
  for (const auto& fault : faults) text += fault + "; ";
  return text;
}

Waits waits() {
  const std::lock_guard lock(waits_mutex);
  return noted();
}

void reset_waits() {
  const std::lock_guard lock(waits_mutex);
  noted() = {};
}

void note_read_back(const std::string& name) {
  const std::lock_guard lock(waits_mutex);
  noted().read_backs[name] += 1;
}

void note_upload(const std::string& what) {
  const std::lock_guard lock(waits_mutex);
  noted().uploads[what] += 1;
}

void note_fault(const std::string& sentence) {
  const std::lock_guard lock(waits_mutex);
  noted().faults.push_back(sentence);
}

}  // namespace sightline::test
