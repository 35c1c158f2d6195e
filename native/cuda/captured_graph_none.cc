// In place of captured_graph_cuda.cc where LibTorch has no CUDA, or CUDA's headers were not found.
#include "engine/device/captured_graph.h"

namespace sightline {

std::unique_ptr<CapturedGraph> capture_graph(at::Device, const std::function<void()>&) { return nullptr; }

bool is_capture_built() { return false; }

}  // namespace sightline
