// Whether an operator is pointwise, found out by running it.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace sightline {

// Whether each entry of the output is computed from the entry of `moved` at its place alone. The tag `pointwise` is missing for
// `hardswish`, for most operators in place and for all that take a weight. The operator is run on random numbers of the recorded
// sizes, of which a part is changed: what was not changed must come out as before. False where it cannot be run so.
bool is_pointwise_by_run(const torch::jit::Node* node, const torch::jit::Value* moved);

}  // namespace sightline
