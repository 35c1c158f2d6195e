// The engine's answers as JS values.
#pragma once

#include "bridge/napi_setup.h"

#include "engine/device/workers.h"
#include "engine/programs/network.h"

namespace sightline {

Napi::Object info_to_js(Napi::Env env, const NetworkInfo& info);
Napi::Object result_to_js(Napi::Env env, const Request::Result& result);

}  // namespace sightline
