// Copies on streams, with a device made up of LibTorch's place for other backends: its memory is the host's, and nothing
// that is asked of a stream is done before somebody waits for it, and then no more than what must be. A wait that is
// missing shows as data that is not there.
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/DeviceType.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include "engine/device/transfer.h"
#include "runner.h"

namespace sightline::test {

namespace {

const at::Device kDevice(at::kPrivateUse1, 0);

class LazyDevice {
 public:
  static LazyDevice& get() {
    static auto* device = new LazyDevice;
    return *device;
  }

  void start() {
    streams_.assign(1, {});
    current_ = 0;
    recorded_.clear();
  }
  int64_t current() const { return current_; }
  int64_t exchange(int64_t stream) { return std::exchange(current_, stream); }
  int64_t new_stream() {
    streams_.push_back({});
    return static_cast<int64_t>(streams_.size()) - 1;
  }
  void ask(std::function<void()> work) { streams_.at(current_).asked.push_back(std::move(work)); }
  void ask(int64_t stream, std::function<void()> work) { streams_.at(stream).asked.push_back(std::move(work)); }
  size_t asked(int64_t stream) const { return streams_.at(stream).asked.size(); }
  size_t done(int64_t stream) const { return streams_.at(stream).done; }
  void run(int64_t stream, size_t until) {
    while (streams_.at(stream).done < until) {
      const auto work = streams_.at(stream).asked.at(streams_.at(stream).done++);
      work();
    }
  }
  void note(const void* memory, int64_t stream) { recorded_.emplace(memory, stream); }
  bool is_noted(const at::Tensor& tensor, int64_t stream) const {
    return recorded_.count({tensor.storage().data(), stream}) != 0;
  }

 private:
  struct Stream {
    std::vector<std::function<void()>> asked;
    size_t done = 0;
  };
  std::vector<Stream> streams_{1};
  int64_t current_ = 0;
  std::set<std::pair<const void*, int64_t>> recorded_;
};

struct LazyEvent {
  int64_t stream;
  size_t at;
};

class LazyGuard : public c10::impl::DeviceGuardImplInterface {
 public:
  static constexpr at::DeviceType static_type = at::kPrivateUse1;
  LazyGuard() = default;
  explicit LazyGuard(at::DeviceType) {}
  at::DeviceType type() const override { return static_type; }
  at::Device exchangeDevice(at::Device) const override { return kDevice; }
  at::Device getDevice() const override { return kDevice; }
  void setDevice(at::Device) const override {}
  void uncheckedSetDevice(at::Device) const noexcept override {}
  c10::Stream getStream(at::Device) const override { return stream(LazyDevice::get().current()); }
  c10::Stream getStreamFromGlobalPool(at::Device, bool) const override {
    return stream(LazyDevice::get().new_stream());
  }
  c10::Stream exchangeStream(c10::Stream to) const override { return stream(LazyDevice::get().exchange(to.id())); }
  // None for the rest of LibTorch, which has nothing to prepare for it.
  at::DeviceIndex deviceCount() const noexcept override { return 0; }
  void record(void** event, const c10::Stream& on, const at::DeviceIndex, const c10::EventFlag) const override {
    delete static_cast<LazyEvent*>(*event);
    *event = new LazyEvent{on.id(), LazyDevice::get().asked(on.id())};
  }
  void block(void* event, const c10::Stream& waiting) const override {
    const LazyEvent awaited = *static_cast<LazyEvent*>(event);
    LazyDevice::get().ask(waiting.id(), [awaited] { LazyDevice::get().run(awaited.stream, awaited.at); });
  }
  bool queryEvent(void* event) const override {
    const auto& awaited = *static_cast<LazyEvent*>(event);
    return LazyDevice::get().done(awaited.stream) >= awaited.at;
  }
  void synchronizeEvent(void* event) const override {
    const LazyEvent awaited = *static_cast<LazyEvent*>(event);
    LazyDevice::get().run(awaited.stream, awaited.at);
  }
  void destroyEvent(void* event, const at::DeviceIndex) const noexcept override {
    delete static_cast<LazyEvent*>(event);
  }

 private:
  static c10::Stream stream(int64_t id) { return c10::Stream(c10::Stream::UNSAFE, kDevice, id); }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, LazyGuard)

class Memory : public c10::Allocator {
 public:
  explicit Memory(at::Device device) : device_(device) {}
  c10::DataPtr allocate(size_t bytes) override {
    void* data = std::malloc(std::max<size_t>(bytes, 1));
    std::memset(data, 0x7f, bytes);  // nobody's values
    return {data, data, &std::free, device_};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &std::free; }
  void copy_data(void* to, const void* from, size_t count) const override { std::memcpy(to, from, count); }

 private:
  at::Device device_;
};

struct Hooks : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(at::DeviceIndex) const override { return false; }
  at::Allocator* getPinnedMemoryAllocator() const override {
    static auto* memory = new Memory(at::kCPU);
    return memory;
  }
};

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  static auto* memory = new Memory(kDevice);
  return at::detail::empty_strided_generic(size, stride, memory, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           dtype.value_or(at::kFloat));
}

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout> layout,
                 std::optional<at::Device> device, std::optional<bool> pinned, std::optional<at::MemoryFormat>) {
  return empty_strided(size, at::empty(size, at::kMeta).strides(), dtype, layout, device, pinned);
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  EXPECT(from.is_contiguous() && to.is_contiguous() && from.scalar_type() == to.scalar_type());
  // Both kept until then, as LibTorch's allocators keep page-locked memory, and noted device memory.
  LazyDevice::get().ask([from, to] { std::memcpy(to.storage().mutable_data(), from.storage().data(), from.nbytes()); });
  return to;
}

void record_stream(at::Tensor& tensor, at::Stream stream) {
  LazyDevice::get().note(tensor.storage().data(), stream.id());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", TORCH_FN(empty));
  m.impl("empty_strided", TORCH_FN(empty_strided));
  m.impl("_copy_from", TORCH_FN(copy_from));
  m.impl("record_stream", TORCH_FN(record_stream));
}

float* values_of(const at::Tensor& tensor) { return static_cast<float*>(tensor.storage().mutable_data()); }

// Asks the device for factor * x, on the stream that is current.
at::Tensor times(const at::Tensor& x, float factor) {
  auto result = at::empty(x.sizes(), x.options());
  LazyDevice::get().ask([x, result, factor] {
    for (int64_t i = 0; i < x.numel(); ++i) values_of(result)[i] = factor * values_of(x)[i];
  });
  return result;
}

std::unique_ptr<Transfer> started() {
  static const bool is_registered = [] {
    at::RegisterPrivateUse1HooksInterface(new Hooks);
    // Page-locked memory is that of the one accelerator that LibTorch knows of.
    // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDeleteLeaks): LibTorch keeps the hooks.
    c10::register_privateuse1_backend("lazy");
    return true;
  }();
  EXPECT(is_registered);
  LazyDevice::get().start();
  return transfer_for(kDevice);
}

// The streams in the order in which the transfer takes them.
constexpr int64_t kCompute = 0, kUpload = 1, kDownload = 2;

}  // namespace

TEST("transfer: what is uploaded, computed and fetched waits for what it needs, and the caller's memory for nothing") {
  const auto transfer = started();
  EXPECT(transfer->is_asynchronous());
  auto host = at::arange(6, at::kFloat).view({2, 3});
  const auto images = transfer->beside([&] {
    EXPECT_EQUAL(LazyDevice::get().current(), kUpload);
    const auto sent = transfer->send(transfer->stage(host));
    return times(sent, 2);
  });
  EXPECT_EQUAL(LazyDevice::get().current(), kCompute);
  host.fill_(-1);
  const auto result = times(images, 5);
  const auto on_host = at::ones({2});
  auto arrival = transfer->fetch({result, on_host});
  EXPECT_EQUAL(LazyDevice::get().current(), kCompute);
  for (const auto stream : {kCompute, kUpload, kDownload})
    EXPECT_EQUAL(LazyDevice::get().done(stream), size_t{0}, "somebody waited");
  EXPECT(arrival.wait != nullptr);
  EXPECT(arrival.tensors.at(0).is_cpu());
  EXPECT(arrival.tensors.at(1).is_same(on_host));
  arrival.wait();
  EXPECT(arrival.tensors.at(0).equal(at::arange(6, at::kFloat).view({2, 3}) * 10));
  EXPECT(LazyDevice::get().is_noted(images, kCompute), "the upload stream's memory is read by the computing stream");
  EXPECT(LazyDevice::get().is_noted(result, kDownload), "the computing stream's memory is read by the download stream");
}

TEST("transfer: the next batch is uploaded and asked for without being waited for") {
  const auto transfer = started();
  const auto ask = [&](double value) {
    const auto images =
        transfer->beside([&] { return transfer->send(transfer->stage(at::full({4}, value, at::kFloat))); });
    return transfer->fetch({times(images, 3)});
  };
  auto first = ask(1);
  const auto asked = LazyDevice::get().asked(kUpload);
  auto second = ask(2);
  first.wait();
  EXPECT(first.tensors.at(0).equal(at::full({4}, 3.0)));
  EXPECT_EQUAL(LazyDevice::get().done(kUpload), asked,
               "the first batch's results waited for the second batch's upload");
  second.wait();
  EXPECT(second.tensors.at(0).equal(at::full({4}, 6.0)));
  // Dropped without a wait, as when the engine gives up: nothing is left behind that fails later.
  ask(3);
  EXPECT(!transfer->beside([] { return at::Tensor(); }).defined());
}

TEST("transfer: a failure in between leaves the stream that was current") {
  const auto transfer = started();
  bool is_thrown = false;
  try {
    transfer->beside([]() -> at::Tensor { throw std::runtime_error("no luck"); });
  } catch (const std::runtime_error&) {
    is_thrown = true;
  }
  EXPECT(is_thrown);
  EXPECT_EQUAL(LazyDevice::get().current(), kCompute);
}

TEST("transfer: on the CPU nothing is copied and nothing is waited for") {
  const auto transfer = transfer_for(at::kCPU);
  EXPECT(!transfer->is_asynchronous());
  const auto tensor = at::ones({3});
  EXPECT(transfer->stage(tensor).is_same(tensor));
  EXPECT(transfer->beside([&] { return tensor; }).is_same(tensor));
  const auto arrival = transfer->fetch({tensor});
  EXPECT(arrival.tensors.at(0).is_same(tensor));
  EXPECT(!arrival.wait);
}

}  // namespace sightline::test
