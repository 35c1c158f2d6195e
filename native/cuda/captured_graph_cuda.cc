// CUDA graphs. The one file that needs CUDA's headers; it calls LibTorch only, so nothing of CUDA's is linked.
#include "engine/device/captured_graph.h"

#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/StreamGuard.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include <exception>
#include <map>
#include <mutex>

namespace sightline {

namespace {

constexpr int kWarmUps = 3;

// One per device: each stream keeps a cache of its own in the allocator.
c10::Stream capture_stream(at::Device device) {
  static std::mutex mutex;
  static auto* streams = new std::map<c10::DeviceIndex, c10::Stream>;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = streams->find(device.index());
  if (found != streams->end()) return found->second;
  const c10::Stream stream = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index());
  streams->emplace(device.index(), stream);
  return stream;
}

template <typename Work>
void ignoring_failure(Work work) noexcept {
  try {
    work();
  } catch (const std::exception&) {
  }
}

// LibTorch since 2.10 has pinned memory take part in captures as well.
template <typename Allocator>
void leave_host_pool(Allocator* allocator, c10::MempoolId_t pool) {
  if constexpr (requires { allocator->end_allocate_to_pool(pool); }) {
    ignoring_failure([&] { allocator->end_allocate_to_pool(pool); });
    ignoring_failure([&] { allocator->release_pool(pool); });
  }
}

class CudaGraph : public CapturedGraph {
 public:
  CudaGraph(at::Device device, const std::function<void()>& work) : device_(device) {
    const c10::DeviceGuard on_device(device_);
    // What `work` reads was written on the stream that was current until now.
    c10::cuda::device_synchronize();
    const c10::StreamGuard on_side(capture_stream(device_));
    for (int i = 0; i < kWarmUps; ++i) work();
    c10::cuda::device_synchronize();
    // The capture takes memory of its own; what the runs before it left in the cache would lie idle beside it.
    c10::cuda::CUDACachingAllocator::emptyCache();
    // Named here, since LibTorch tells the pool of a capture only once that has succeeded.
    pool_ = at::cuda::graph_pool_handle();
    try {
      // Thread-local: another GPU's worker may allocate meanwhile.
      graph_.capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
      work();
    } catch (...) {
      // Ends the stream's capture; that it is invalid is known.
      ignoring_failure([&] { graph_.capture_end(); });
      clean_up();
      throw;
    }
    try {
      graph_.capture_end();
    } catch (...) {
      clean_up();
      throw;
    }
    c10::cuda::device_synchronize();
  }

  ~CudaGraph() override {
    // A launch may still be running on the memory that goes with the graph.
    ignoring_failure([&] {
      const c10::DeviceGuard on_device(device_);
      c10::cuda::device_synchronize();
    });
  }

  void replay() override { graph_.replay(); }

 private:
  // After a failed capture LibTorch's allocators still send what this thread allocates to the capture's pool, and ask the
  // graph object which streams belong to it, which is about to go.
  void clean_up() noexcept {
    bool is_released_by_graph = true;
    try {
      graph_
          .pool();  // throws unless the capture itself ended well, after which the graph's destructor lets the pool go
    } catch (const std::exception&) {
      is_released_by_graph = false;
    }
    if (is_released_by_graph) return;
    ignoring_failure([&] { c10::cuda::CUDACachingAllocator::endAllocateToPool(device_.index(), pool_); });
    ignoring_failure([&] { c10::cuda::CUDACachingAllocator::releasePool(device_.index(), pool_); });
    leave_host_pool(at::getHostAllocator(at::kCUDA), pool_);
  }

  at::Device device_;
  c10::MempoolId_t pool_{0, 0};
  at::cuda::CUDAGraph graph_;
};

}  // namespace

std::unique_ptr<CapturedGraph> capture_graph(at::Device device, const std::function<void()>& work) {
  if (!device.is_cuda()) return nullptr;
  return std::make_unique<CudaGraph>(device, work);
}

bool is_capture_built() { return true; }

}  // namespace sightline
