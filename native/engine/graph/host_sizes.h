// Sizes that a trace computes with tensors.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace sightline {

// Puts constants that take part in nothing but arithmetic on sizes onto the host. An archive's constants are loaded onto
// its device, so that the host would wait for each of these results.
void keep_sizes_on_host(torch::jit::Graph& graph);

}  // namespace sightline
