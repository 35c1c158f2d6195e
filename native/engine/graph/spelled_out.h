// Operators that are short for others, written as those, which is what all that reads a graph knows.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <vector>

#include "engine/graph/marks.h"

namespace sightline {

// In a straight graph: `padding='same'` and `'valid'` as numbers, `einsum` of two operands as a product of matrices, and grouped
// queries with their keys and values repeated. Names follow.
void spell_out(torch::jit::Graph& graph, std::vector<NamedValue>& nodes);

}  // namespace sightline
