// What a program's values take in memory, by the sizes that tracing recorded.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>

namespace sightline {

// Bytes that a run on one image takes: of all values (`keeps_all`: gradients are recorded), or the most that live at once.
int64_t bytes_of_run(const torch::jit::Graph& graph, bool keeps_all);

}  // namespace sightline
