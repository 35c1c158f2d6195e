// Which operators an archive that nobody vouches for may contain. TorchScript is a language: it writes files, reads
// them, and loops for ever. Image classifiers do none of that.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>

namespace sightline {

// Looks through the graph of every function and method of the archive, whether `forward` calls it or not. Nothing of
// the module is run. Throws EngineError UNTRUSTED_ARCHIVE that names the operator and the method: for an operator that
// is not allowed, for a loop whose number of turns has no bound, for a constant size that no image classifier has, and
// for calls that would take more steps than any model does.
void check_operators(const torch::jit::Module& module, const std::string& path);

// Whether an operator such as "aten::relu" or "prim::If" is on the list.
bool is_allowed_operator(const std::string& qualified_name);

}  // namespace sightline
