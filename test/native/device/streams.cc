#include "device/streams.h"

#include <c10/core/Stream.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>

#include "device/device.h"
#include "device/memory.h"

namespace sightline::test {

namespace {

struct Stream {
  std::deque<std::function<void()>> asked;  // not done yet
  size_t done = 0;
  int64_t time = 0;  // of the last work
  Clock seen;        // what it has waited for
  size_t end() const { return done + asked.size(); }
};

struct Landing {
  Turn turn;
  std::shared_ptr<std::vector<char>> bytes;
  at::Tensor page_locked;
};

std::deque<Stream>& streams(at::DeviceIndex device) {
  static auto* all = new std::array<std::deque<Stream>, kDeviceCount>{std::deque<Stream>(1), std::deque<Stream>(1)};
  return all->at(device);
}
Stream& stream_at(const StreamKey& key) { return streams(key.first).at(key.second); }

// Of the host: whichever of its threads has waited, the others are taken to have been told.
Clock& host() {
  static auto* clock = new Clock;
  return *clock;
}
std::vector<Landing>& landings() {
  static auto* all = new std::vector<Landing>;
  return *all;
}

thread_local at::DeviceIndex current = 0;
thread_local std::array<int64_t, kDeviceCount> current_streams{};

void run(const StreamKey& key, size_t until) {
  auto& stream = stream_at(key);
  while (stream.done < until) {
    const auto work = std::move(stream.asked.front());
    stream.asked.pop_front();
    ++stream.done;
    work();
  }
}

Clock clock_of(const StreamKey& key) {
  const auto& stream = stream_at(key);
  Clock clock = stream.seen;
  clock.learn(key, stream.time);
  return clock;
}

void host_learns(const Clock& clock) {
  host().learn(clock);
  auto& all = landings();
  for (const auto& landing : all) {
    if (!host_knows(landing.turn)) continue;
    std::memcpy(landing.page_locked.data_ptr(), landing.bytes->data(), landing.bytes->size());
  }
  std::erase_if(all, [](const Landing& landing) { return host_knows(landing.turn); });
}

void host_waits_for(const StreamKey& key) {
  const std::lock_guard lock(device_mutex());
  run(key, stream_at(key).end());
  host_learns(clock_of(key));
}

struct Event {
  StreamKey stream;
  size_t at;
  Clock clock;
};

class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  static constexpr at::DeviceType static_type = at::kPrivateUse1;
  Guard() = default;
  explicit Guard(at::DeviceType) {}
  at::DeviceType type() const override { return static_type; }
  at::Device getDevice() const override { return emulated(current); }
  at::Device exchangeDevice(at::Device device) const override {
    const auto before = getDevice();
    setDevice(device);
    return before;
  }
  void setDevice(at::Device device) const override {
    TORCH_CHECK(device.index() < kDeviceCount, "there is no emulated device ", device.index());
    uncheckedSetDevice(device);
  }
  void uncheckedSetDevice(at::Device device) const noexcept override {
    if (device.index() >= 0) current = device.index();
  }
  c10::Stream getStream(at::Device device) const override {
    return stream(device, current_streams.at(index_of(device)));
  }
  c10::Stream getDefaultStream(at::Device device) const override { return stream(device, 0); }
  c10::Stream getNewStream(at::Device device, int) const override {
    const std::lock_guard lock(device_mutex());
    auto& all = streams(index_of(device));
    all.emplace_back();
    return stream(device, static_cast<int64_t>(all.size()) - 1);
  }
  c10::Stream getStreamFromGlobalPool(at::Device device, bool) const override { return getNewStream(device, 0); }
  c10::Stream exchangeStream(c10::Stream to) const override {
    auto& kept = current_streams.at(index_of(to.device()));
    return stream(to.device(), std::exchange(kept, to.id()));
  }
  at::DeviceIndex deviceCount() const noexcept override { return kDeviceCount; }
  void record(void** event, const c10::Stream& on, const at::DeviceIndex, const c10::EventFlag) const override {
    const std::lock_guard lock(device_mutex());
    delete static_cast<Event*>(*event);
    const auto key = key_of(on);
    stream_at(key).seen.learn(host());
    *event = new Event{key, stream_at(key).end(), clock_of(key)};
  }
  void block(void* event, const c10::Stream& waiting) const override {
    if (event == nullptr) return;
    const std::lock_guard lock(device_mutex());
    const auto& awaited = *static_cast<Event*>(event);
    stream_at(key_of(waiting)).seen.learn(awaited.clock);
    hand_over_late(key_of(waiting), [stream = awaited.stream, at = awaited.at] { run(stream, at); });
  }
  bool queryEvent(void* event) const override {
    synchronizeEvent(event);
    return true;
  }
  void synchronizeEvent(void* event) const override {
    if (event == nullptr) return;
    const std::lock_guard lock(device_mutex());
    const auto& awaited = *static_cast<Event*>(event);
    run(awaited.stream, awaited.at);
    host_learns(awaited.clock);
  }
  void destroyEvent(void* event, const at::DeviceIndex) const noexcept override { delete static_cast<Event*>(event); }
  bool queryStream(const c10::Stream& of) const override {
    synchronizeStream(of);
    return true;
  }
  void synchronizeStream(const c10::Stream& of) const override { host_waits_for(key_of(of)); }
  void synchronizeDevice(const at::DeviceIndex device) const override {
    const std::lock_guard lock(device_mutex());
    for (size_t id = 0; id < streams(device).size(); ++id) host_waits_for({device, static_cast<int64_t>(id)});
  }
  void recordDataPtrOnStream(const c10::DataPtr& data, const c10::Stream& on) const override {
    note_stream(data.get(), key_of(on));
  }

 private:
  static at::DeviceIndex index_of(at::Device device) { return device.index() < 0 ? current : device.index(); }
  static StreamKey key_of(const c10::Stream& of) { return {index_of(of.device()), of.id()}; }
  static c10::Stream stream(at::Device device, int64_t id) {
    return c10::Stream(c10::Stream::UNSAFE, emulated(index_of(device)), id);
  }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

}  // namespace

at::Device emulated(at::DeviceIndex index) { return {at::kPrivateUse1, index}; }
at::Device current_device() { return emulated(current); }

std::recursive_mutex& device_mutex() {
  static auto* mutex = new std::recursive_mutex;
  return *mutex;
}

StreamKey current_stream(at::Device device) { return {device.index(), current_streams.at(device.index())}; }

Turn next_turn(at::Device device) {
  const auto key = current_stream(device);
  auto& stream = stream_at(key);
  stream.seen.learn(host());
  return {key, ++stream.time};
}

bool follows(const StreamKey& stream, const Turn& before) {
  return stream == before.stream || host_knows(before) || stream_at(stream).seen.knows(before.stream, before.time);
}

bool host_knows(const Turn& turn) { return host().knows(turn.stream, turn.time); }

void hand_over(const StreamKey& stream, std::function<void()> work) {
  if (stream_at(stream).asked.empty()) {
    work();
  } else {
    hand_over_late(stream, std::move(work));
  }
}

void hand_over_late(const StreamKey& stream, std::function<void()> work) {
  stream_at(stream).asked.push_back(std::move(work));
}

void catch_up(at::Device device) {
  const auto key = current_stream(device);
  run(key, stream_at(key).end());
}

void host_waits(at::Device device) { host_waits_for(current_stream(device)); }

void land(const Turn& turn, std::shared_ptr<std::vector<char>> bytes, const at::Tensor& page_locked) {
  landings().push_back({turn, std::move(bytes), page_locked});
}

std::string text_of(const StreamKey& stream) {
  return "stream " + std::to_string(stream.second) + " of emulated:" + std::to_string(stream.first);
}

}  // namespace sightline::test
