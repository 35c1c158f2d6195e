// Streams of the emulated device, and what is known to be done when.
//
// A kernel's results are there at once, since the next operator asks for their sizes. Whether whoever reads them has
// waited is therefore kept by clocks: each stream, and the host, has one that tells how far it has waited for every
// stream. A use of memory that its clock does not put after another stream's finds NaN instead of values, and is noted
// as a fault: it shows whichever of the two would have been first on a real device. Copies that nobody has to wait for
// are done late: to the device when a kernel that waits for them follows, to the host when the host waits.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sightline::test {

using StreamKey = std::pair<at::DeviceIndex, int64_t>;

class Clock {
 public:
  bool knows(const StreamKey& stream, int64_t time) const {
    const auto found = times_.find(stream);
    return found != times_.end() && found->second >= time;
  }
  void learn(const StreamKey& stream, int64_t time) {
    auto& known = times_[stream];
    known = std::max(known, time);
  }
  void learn(const Clock& other) {
    for (const auto& [stream, time] : other.times_) learn(stream, time);
  }

 private:
  std::map<StreamKey, int64_t> times_;  // the first work of a stream has the time 1
};

// One piece of work on a stream.
struct Turn {
  StreamKey stream;
  int64_t time;
};

// The calling thread's current stream of `device`.
StreamKey current_stream(at::Device device);
// The next work of the current stream. It follows all that its stream and the host have waited for.
Turn next_turn(at::Device device);
// Whether work on `stream` from now on comes after `before`.
bool follows(const StreamKey& stream, const Turn& before);
// Whether the host has waited for `turn`.
bool host_knows(const Turn& turn);

// All that is below is asked for with device_mutex() held.

// Work that a stream does in its order, when somebody waits for it or a kernel follows. At once where it has none to do.
void hand_over(const StreamKey& stream, std::function<void()> work);
// Work that a stream has to do however idle it is: it is done late.
void hand_over_late(const StreamKey& stream, std::function<void()> work);
// Does what was handed to the current stream, as far as a kernel on it needs it.
void catch_up(at::Device device);
// The host waits for the current stream.
void host_waits(at::Device device);
// Puts `bytes`, which are complete when `turn` is done, into page-locked memory once the host has waited for that.
void land(const Turn& turn, std::shared_ptr<std::vector<char>> bytes, const at::Tensor& page_locked);

std::string text_of(const StreamKey& stream);

}  // namespace sightline::test
