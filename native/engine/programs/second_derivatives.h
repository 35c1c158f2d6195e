// Operators whose gradient LibTorch cannot differentiate once more.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace sightline {

// Puts arithmetic that can be differentiated twice in their place: relu6(x + 3) / 6 for hardsigmoid, of which the gates of
// MobileNetV3 are made. Values stay what they are, to rounding.
void make_twice_differentiable(torch::jit::Graph& graph);

}  // namespace sightline
