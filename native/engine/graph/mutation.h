// Taking in-place operators out of a straight graph, so that every marked value stays what a forward hook saw.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <unordered_set>

#include "engine/graph/one_run.h"

namespace sightline {

// Replaces `relu_` and its like by `relu`, wherever nothing reads the memory through a view from before. Where something does, the
// operator stays, and what follows a mark of its memory works on a copy. Returns the marks for which neither could be done: their
// values are not to be had. `identities` are those of the run that wrote `graph`, whose marks are still in.
std::unordered_set<const torch::jit::Node*> remove_mutation(torch::jit::Graph& graph, TensorIdentities identities);

}  // namespace sightline
