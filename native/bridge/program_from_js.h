// A program of torch.export, as TypeScript has read it.
#pragma once

#include "bridge/napi_setup.h"

#include "engine/exported_program.h"

namespace sightline {

ExportedProgram program_from_js(Napi::Object object);

}  // namespace sightline
