#include "device/memory.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/Exception.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "device/device.h"

namespace sightline::test {

namespace {

constexpr size_t kBytes = size_t{8} << 30;  // of addresses; pages are taken as they are written
constexpr size_t kSmallest = 512;

struct Taken {
  size_t bytes;
  StreamKey home;
  std::optional<Turn> written;
  std::map<StreamKey, int64_t> read;
  std::set<StreamKey> noted;
};

size_t rounded(size_t bytes) { return std::bit_ceil(std::max(bytes, kSmallest)); }

// One file, mapped twice: without rights for tensors, and readable for kernels.
class Arena {
 public:
  static Arena& get() {
    static auto* arena = new Arena;
    return *arena;
  }

  void* take(size_t bytes, const StreamKey& home) {
    const std::lock_guard lock(device_mutex());
    const auto size = rounded(bytes);
    auto& figures = figures_.at(home.first);
    TORCH_CHECK_WITH(OutOfMemoryError, figures.allocated + static_cast<int64_t>(bytes) <= limit_.value_or(kBytes),
                     "the emulated device is out of memory");
    auto& free = free_[{home, size}];
    size_t offset = next_;
    if (free.empty()) {
      TORCH_CHECK_WITH(OutOfMemoryError, next_ + size <= kBytes, "the emulated device has no more addresses");
      next_ += size;
      std::memset(open_ + offset, kNobodysValue, size);
    } else {
      offset = free.back();
      free.pop_back();
    }
    taken_[offset] = {bytes, home, std::nullopt, {}, {}};
    figures.allocated += static_cast<int64_t>(bytes);
    figures.peak = std::max(figures.peak, figures.allocated);
    figures.allocations += 1;
    return closed_ + offset;
  }

  void give(void* address) {
    const std::lock_guard lock(device_mutex());
    const auto offset = offset_of(address);
    const auto block = taken_.at(offset);
    taken_.erase(offset);
    figures_.at(block.home.first).allocated -= static_cast<int64_t>(block.bytes);
    std::set<StreamKey> awaited{block.home};
    for (const auto& [stream, time] : uses(block)) {
      if (follows(block.home, {stream, time})) continue;
      if (block.noted.count(stream) != 0) {
        awaited.insert(stream);
      } else {
        note_fault(std::to_string(block.bytes) + " bytes of " + text_of(block.home) + " are freed while " +
                   text_of(stream) + " uses them, which was not noted by record_stream");
      }
    }
    const auto left = std::make_shared<size_t>(awaited.size());
    for (const auto& stream : awaited) {
      hand_over(stream, [this, left, offset, bytes = block.bytes, home = block.home] {
        if (--*left > 0) return;
        std::memset(open_ + offset, kNobodysValue, bytes);
        free_[{home, rounded(bytes)}].push_back(offset);
      });
    }
  }

  void note(const void* address, const StreamKey& stream) {
    const std::lock_guard lock(device_mutex());
    if (address != nullptr) taken_.at(offset_of(address)).noted.insert(stream);
  }

  bool use(const void* address, const Turn& turn, Use use, const std::string& by) {
    const std::lock_guard lock(device_mutex());
    if (address == nullptr) return true;
    auto& block = taken_.at(offset_of(address));
    bool is_in_order = true;
    const auto compare = [&](const Turn& before, const char* did) {
      if (follows(turn.stream, before)) return;
      is_in_order = false;
      note_fault(by + " on " + text_of(turn.stream) + (use == Use::Read ? " reads" : " writes") + " what " +
                 text_of(before.stream) + " " + did + ", without waiting for it");
    };
    if (block.written) compare(*block.written, "writes");
    if (use == Use::Write) {
      for (const auto& [stream, time] : block.read) compare({stream, time}, "reads");
      block.written = turn;
      block.read.clear();
    } else {
      block.read[turn.stream] = turn.time;
    }
    return is_in_order;
  }

  void* open(const void* address) const { return open_ + offset_of(address); }

  MemoryFigures figures(at::DeviceIndex device) {
    const std::lock_guard lock(device_mutex());
    return figures_.at(device);
  }
  void reset(at::DeviceIndex device) {
    const std::lock_guard lock(device_mutex());
    figures_.at(device).peak = figures_.at(device).allocated;
    figures_.at(device).allocations = 0;
  }
  void limit(std::optional<int64_t> bytes) {
    const std::lock_guard lock(device_mutex());
    limit_ = bytes;
  }

 private:
  Arena() {
    const int file = memfd_create("emulated-device", MFD_CLOEXEC);
    TORCH_CHECK(file >= 0 && ftruncate(file, static_cast<off_t>(kBytes)) == 0, "no memory for the emulated device");
    closed_ = static_cast<char*>(mmap(nullptr, kBytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, file, 0));
    open_ = static_cast<char*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0));
    TORCH_CHECK(closed_ != MAP_FAILED && open_ != MAP_FAILED, "no addresses for the emulated device");
    close(file);
  }

  size_t offset_of(const void* address) const {
    const auto* place = static_cast<const char*>(address);
    TORCH_CHECK(place >= closed_ && place < closed_ + kBytes, "this is no memory of the emulated device");
    return static_cast<size_t>(place - closed_);
  }

  static std::map<StreamKey, int64_t> uses(const Taken& block) {
    auto all = block.read;
    if (block.written) all[block.written->stream] = std::max(all[block.written->stream], block.written->time);
    return all;
  }

  char *closed_, *open_;
  size_t next_ = 0;
  std::map<std::pair<StreamKey, size_t>, std::vector<size_t>> free_;
  std::map<size_t, Taken> taken_;
  std::array<MemoryFigures, kDeviceCount> figures_{};
  std::optional<int64_t> limit_;
};

void give_back(void* address) { Arena::get().give(address); }

class EmulatedAllocator : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* address = Arena::get().take(bytes, current_stream(current_device()));
    return {address, address, &give_back, current_device()};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }
  void copy_data(void* to, const void* from, size_t count) const override {
    std::memcpy(kernel_address(to), kernel_address(from), count);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr& data, c10::Stream stream) override {
    note_stream(data.get(), {stream.device_index(), stream.id()});
  }
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override {
    constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const auto figures = memory_figures(device);
    c10::CachingDeviceAllocator::DeviceStats stats;
    stats.allocated_bytes.at(kAll).current = figures.allocated;
    stats.allocated_bytes.at(kAll).peak = figures.peak;
    stats.reserved_bytes.at(kAll).current = figures.allocated;
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex device) override { reset_memory_figures(device); }
};

std::mutex pinned_mutex;
std::map<const char*, size_t>& pinned_ranges() {
  static auto* ranges = new std::map<const char*, size_t>;
  return *ranges;
}

void unpin(void* address) {
  {
    const std::lock_guard lock(pinned_mutex);
    pinned_ranges().erase(static_cast<const char*>(address));
  }
  std::free(address);
}

class PinnedAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* address = std::malloc(std::max<size_t>(bytes, 1));
    std::memset(address, kNobodysValue, bytes);
    const std::lock_guard lock(pinned_mutex);
    pinned_ranges()[static_cast<const char*>(address)] = std::max<size_t>(bytes, 1);
    return {address, address, &unpin, at::Device(at::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &unpin; }
  void copy_data(void* to, const void* from, size_t count) const override { std::memcpy(to, from, count); }
};

}  // namespace

MemoryFigures memory_figures(at::DeviceIndex device) { return Arena::get().figures(device); }
void reset_memory_figures(at::DeviceIndex device) { Arena::get().reset(device); }
void limit_memory(std::optional<int64_t> bytes) { Arena::get().limit(bytes); }
void* kernel_address(const void* address) { return address == nullptr ? nullptr : Arena::get().open(address); }
void note_stream(const void* address, const StreamKey& stream) { Arena::get().note(address, stream); }
bool note_use(const void* address, const Turn& turn, Use use, const std::string& by) {
  return Arena::get().use(address, turn, use, by);
}

c10::Allocator* device_allocator() {
  static auto* allocator = new EmulatedAllocator;
  return allocator;
}

c10::Allocator* pinned_allocator() {
  static auto* allocator = new PinnedAllocator;
  return allocator;
}

bool is_pinned_memory(const void* address) {
  const std::lock_guard lock(pinned_mutex);
  const auto* place = static_cast<const char*>(address);
  auto after = pinned_ranges().upper_bound(place);
  if (after == pinned_ranges().begin()) return false;
  --after;
  return place < after->first + after->second;
}

}  // namespace sightline::test
