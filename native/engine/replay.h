// Runs that come again and again in the same shape, captured once and replayed.
#pragma once

#include "engine/pch.h"

#include <list>

#include "engine/captured_graph.h"
#include "engine/plan.h"

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
class Replays {
 public:
  // A plan's run on a batch: images [N, 3, H, W], targets and against [N, targets] int64 on the device, `against` undefined
  // where no target is compared. Returns tensors on the device, made by work that does not wait for it.
  //
  // A copy of it is kept as long as what was captured of it is replayed: it must own (by shared pointer) whatever it
  // reads that may go before the network does, such as a program's folded weights. It is not called again then, so what
  // it refers to for one batch only may go.
  using Run = std::function<std::vector<at::Tensor>(const at::Tensor& images, const at::Tensor& targets, const at::Tensor& against)>;
  using Capture = std::function<std::unique_ptr<CapturedGraph>(at::Device, const std::function<void()>&)>;

  // Runs of the same plan and shape before it is captured: a shape that comes once or twice costs nothing.
  static constexpr int64_t kPlainRuns = 2;
  // Larger batches keep a GPU busy while the next kernel is launched, and their captures would hold much memory.
  static constexpr int64_t kMostImages = 8;
  // A captured run holds the memory of its activations: the one not used for longest goes.
  static constexpr size_t kMostCaptured = 8;
  // Shapes that are counted towards a capture.
  static constexpr size_t kMostCounted = 64;

  explicit Replays(bool is_enabled, Capture capture = capture_graph) : is_enabled_(is_enabled), capture_(std::move(capture)) {}

  // Runs `run`, or replays what was captured of it; the tensors are the caller's own in either case. A capture that fails
  // is counted, and its plan is run plainly from then on. Throws only what `run` itself throws.
  std::vector<at::Tensor> run(const std::shared_ptr<const Plan>& plan, const at::Tensor& images, const at::Tensor& targets,
                              const at::Tensor& against, const Run& run);

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
    bool is_compared;
    int64_t runs = 0;
    bool is_plain = false;  // never to be captured
    std::shared_ptr<Captured> captured;
  };

  Shape& shape_of(const std::shared_ptr<const Plan>& plan, const at::Tensor& images, const at::Tensor& targets, const at::Tensor& against);
  void make_room();
  std::optional<std::vector<at::Tensor>> capture(Shape& shape, const at::Tensor& images, const at::Tensor& targets,
                                                 const at::Tensor& against, const Run& run);
  void refuse(const Shape& shape);

  bool is_enabled_;
  Capture capture_;
  std::list<Shape> shapes_;  // last used first
};

}  // namespace sightline
