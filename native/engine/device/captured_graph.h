// Work on a GPU that is recorded once and then launched as a whole: what a small batch takes is mostly the launching of
// its hundreds of kernels one by one.
#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace sightline {

class CapturedGraph {
 public:
  // Launches the recorded work on the current stream, on the very memory that it was recorded with.
  virtual void replay() = 0;
  virtual ~CapturedGraph() = default;
};

// Records `work`, which is run three times before, on a stream of its own, so that every library has set itself up there.
// The recorded run itself computes nothing: its results are there after the first replay. Null where the device is no
// GPU, or this build has no CUDA graphs. Throws what `work` throws, and c10::Error where it does what cannot be recorded,
// such as reading a value back; the device is as before then.
//
// Everything that `work` reads must stay where it is for as long as the graph is replayed.
std::unique_ptr<CapturedGraph> capture_graph(at::Device device, const std::function<void()>& work);

// Whether this build can capture at all.
bool is_capture_built();

}  // namespace sightline
