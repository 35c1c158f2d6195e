// Operators that only compute: on tensors, numbers, words and lists of them.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace sightline {

// Whether running the node can do no more than make new values: it is one of LibTorch's own public operators, takes and gives
// plain values, and neither touches files, processes, generators and devices, nor gives a tensor other memory or another shape
// in place, nor makes a tensor as large as a value that it is given says.
bool only_computes(const torch::jit::Node* node);

}  // namespace sightline
