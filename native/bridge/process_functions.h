// What belongs to the process and to no model: counters, versions, threads, memory, limits.
#pragma once

#include "bridge/napi_setup.h"

namespace sightline {

void add_process_functions(Napi::Env env, Napi::Object exports);

}  // namespace sightline
