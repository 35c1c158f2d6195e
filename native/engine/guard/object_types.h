// Whether an archive's objects are what its code takes them for.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>

namespace sightline {

// LibTorch's unpickler fills the slots of an object with whatever the archive says, and its interpreter reads them by
// position without looking: an object of another class, with fewer slots, would be read beyond its end.
// Throws EngineError UNTRUSTED_ARCHIVE that names the attribute.
void check_object_types(const torch::jit::Module& module, const std::string& path);

}  // namespace sightline
