// Which operators an archive that nobody vouches for may contain. TorchScript is a language: it writes files, reads
// them, and loops for ever. Image classifiers do none of that.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>

namespace sightline {

// Looks through the graph of every function and method of the archive, whether `forward` calls it or not. Nothing of
// the module is run. Throws EngineError UNTRUSTED_ARCHIVE that names the operator and the method: for an operator that
// does more than compute, for a loop of a known, enormous number of turns, for a constant size that no image classifier has, and
// for calls that would take more steps than any model does. Other loops are ended by the limit on the first run.
// `trust_helps`: whether the sentence says that `trust` lets it pass.
void check_operators(const torch::jit::Module& module, const std::string& path, bool trust_helps = true);

}  // namespace sightline
