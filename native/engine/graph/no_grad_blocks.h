// `with torch.no_grad():` of scripted models.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace sightline {

// Takes the blocks out of an inlined graph, and detaches what is used after them: no gradient flows through what they compute,
// and the gradient mode of the thread stays as it is. Throws EngineError UNSUPPORTED_MODEL where that is not all that such a
// block does.
void open_no_grad_blocks(torch::jit::Graph& graph);

}  // namespace sightline
