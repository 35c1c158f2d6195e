// Reduced precision computed in float32, where its rounding would drown the answer.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/ir/ir.h>

#include "engine/programs/tuning/prepared_weights.h"

namespace sightline {

// Has a graph of reduced precision compute in float32, with the same weights: its inputs must come so. `weights`: where
// the float32 copies are kept, if anywhere.
void compute_in_float32(torch::jit::Graph& graph, PreparedWeights* weights);
// bfloat16 and float16 as float32; any other dtype as it is.
at::Tensor in_float32(const at::Tensor& x);

}  // namespace sightline
