#include "engine/device/transfer.h"

#include <ATen/ops/empty.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <utility>

namespace sightline {

namespace {

class HostTransfer : public Transfer {
 public:
  bool is_asynchronous() const override { return false; }
  at::Tensor stage(const at::Tensor& host) override { return host; }
  at::Tensor send(const at::Tensor& staged) override { return staged; }
  at::Tensor beside(const std::function<at::Tensor()>& work) override { return work(); }
  Arrival fetch(std::vector<at::Tensor> tensors) override { return {std::move(tensors), nullptr}; }
};

// Three streams: the thread's current one computes, one carries uploads, one downloads. A download on the upload stream
// would have the next batch's pixels wait for this batch's maps. Only what LibTorch offers for every kind of device is
// used, so that no CUDA toolkit is needed to build it.
//
// Page-locked memory may be dropped while a copy from or to it is under way: LibTorch's allocator for it notes the
// stream of each copy, and does not hand the memory out again before that stream has passed. Device memory is noted by
// hand (record_stream) wherever a stream reads what another one's memory pool owns.
class StreamTransfer : public Transfer {
 public:
  explicit StreamTransfer(at::Device device)
      : device_(device),
        streams_(device.type()),
        upload_(streams_.getStreamFromGlobalPool(device)),
        download_(streams_.getStreamFromGlobalPool(device)) {}

  bool is_asynchronous() const override { return true; }

  at::Tensor stage(const at::Tensor& host) override {
    auto staged = at::empty(host.sizes(), host.options().pinned_memory(true));
    staged.copy_(host);
    return staged;
  }

  at::Tensor send(const at::Tensor& staged) override {
    return staged.to(device_, /*non_blocking=*/true, /*copy=*/true);
  }

  at::Tensor beside(const std::function<at::Tensor()>& work) override {
    const c10::Stream compute = streams_.getStream(device_);
    at::Tensor result;
    c10::Event is_ready(device_.type());
    {
      const c10::StreamGuard on_upload(upload_);
      result = work();
      is_ready.record(upload_);
    }
    is_ready.block(compute);
    if (result.defined()) result.record_stream(compute);
    return result;
  }

  Arrival fetch(std::vector<at::Tensor> tensors) override {
    const c10::Stream compute = streams_.getStream(device_);
    bool is_any_remote = false;
    for (auto& tensor : tensors) {
      if (tensor.is_cpu()) continue;
      is_any_remote = true;
      // On the stream that made it. Strided, the copy would need a temporary tensor, and not be asynchronous any more.
      tensor = tensor.contiguous();
    }
    if (!is_any_remote) return {std::move(tensors), nullptr};
    c10::Event is_computed(device_.type());
    is_computed.record(compute);
    const auto is_there = std::make_shared<c10::Event>(device_.type());
    {
      const c10::StreamGuard on_download(download_);
      is_computed.block(download_);
      for (auto& tensor : tensors) {
        if (tensor.is_cpu()) continue;
        auto landing = at::empty(tensor.sizes(), tensor.options().device(at::kCPU).pinned_memory(true));
        landing.copy_(tensor, /*non_blocking=*/true);
        tensor.record_stream(download_);
        tensor = std::move(landing);
      }
      is_there->record(download_);
    }
    return {std::move(tensors), [is_there] { is_there->synchronize(); }};
  }

 private:
  at::Device device_;
  c10::impl::VirtualGuardImpl streams_;
  c10::Stream upload_, download_;
};

}  // namespace

std::unique_ptr<Transfer> transfer_for(at::Device device) {
  if (device.is_cpu()) return std::make_unique<HostTransfer>();
  return std::make_unique<StreamTransfer>(device);
}

}  // namespace sightline
