// Runs that come again and again in the same shape, captured once and replayed.
#pragma once

#include <atomic>
#include <list>

#include "engine/device/captured_graph.h"
#include "engine/model.h"
#include "engine/steps/interpreter.h"

namespace sightline {

// Of the whole process.
struct ReplayCounters {
  std::atomic<int64_t> captured{0}, replayed{0}, refused{0};
};
ReplayCounters& replay_counters();

// Whether a plan does the same work on the device whatever is in the images: no loops, no values from the caller, and
// only operations that neither read a value back nor bring one over.
bool is_repeatable(const Plan& plan);

// Whether the environment allows captures: SIGHTLINE_CUDA_GRAPHS is not 0.
bool are_graphs_allowed();

// The captured runs of one network, which must outlive them. Used by the device's worker thread alone.
class Replays : public RunCache {
 public:
  // A plan's run on a batch: images [N, 3, H, W], targets and against [N, targets] int64 on the device, `against` undefined
  // where no target is compared. What it gives lies on the device, and is made by work that does not wait for it.
  //
  // A copy of it is kept as long as what was captured of it is replayed: it must own whatever it reads that may go before
  // the network does. It is not called again then, so what it refers to for one batch only may go.
  using Run =
      std::function<DeviceResult(const at::Tensor& images, const at::Tensor& targets, const at::Tensor& against)>;
  using Capture = std::function<std::unique_ptr<CapturedGraph>(at::Device, const std::function<void()>&)>;

  // Runs of the same plan and shape before it is captured: a shape that comes once or twice costs nothing.
  static constexpr int64_t kPlainRuns = 2;
  // Larger batches keep a GPU busy while the next kernel is launched, and their captures would hold much memory.
  static constexpr int64_t kMostImages = 8;
  // A captured run holds the memory of its activations: the one not used for longest goes.
  static constexpr size_t kMostCaptured = 8;
  // Shapes that are counted towards a capture.
  static constexpr size_t kMostCounted = 64;

  explicit Replays(bool is_enabled, Capture capture = capture_graph)
      : is_enabled_(is_enabled), capture_(std::move(capture)) {}

  // Runs `run`, or replays what was captured of it; the tensors are the caller's own in either case. A capture that fails
  // is counted, and its plan is run plainly from then on. Throws only what `run` itself throws.
  DeviceResult run(const std::shared_ptr<const Plan>& plan, const TargetShape& asked, const at::Tensor& images,
                   const at::Tensor& targets, const at::Tensor& against, const Run& run);

  // Captured runs read the constants of the network's programs: those of an earlier generation are let go.
  void keep_only(int64_t generation);
  // Lets all captured runs go, and their memory; their shapes are counted anew.
  void clear() { shapes_.clear(); }
  size_t captured() const;

 private:
  struct Captured;
  struct Shape {
    std::weak_ptr<const Plan> plan;
    std::vector<int64_t> images, targets;
    at::ScalarType dtype;
    at::MemoryFormat format;
    TargetShape asked;
    int64_t runs = 0;
    bool is_plain = false;  // never to be captured
    std::shared_ptr<Captured> captured;
  };

  Shape& find_shape(const std::shared_ptr<const Plan>& plan, const TargetShape& asked, const at::Tensor& images,
                    const at::Tensor& targets);
  void make_room();
  std::optional<DeviceResult> capture(Shape& shape, const at::Tensor& images, const at::Tensor& targets,
                                      const at::Tensor& against, const Run& run);
  void refuse(const Shape& shape);

  bool is_enabled_;
  Capture capture_;
  std::list<Shape> shapes_;  // last used first
  int64_t generation_ = 0;
};

// The captured runs of the network that `model` was asked for last; they capture where its user, the device, the build and the
// environment let them.
Replays& replays_of(Model& model);

}  // namespace sightline
