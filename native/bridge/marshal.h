// Between JS values and the engine's structures.
#pragma once

#include "bridge/napi_setup.h"

#include "engine/device/workers.h"
#include "engine/programs/network.h"
#include "engine/steps/plan.h"

namespace sightline {

WeightPlan weights_from_js(Napi::Object object);
std::shared_ptr<Plan> plan_from_js(Napi::Object object);
// Reads one request. Its pixels are not copied: `object` must live until the request is settled.
std::unique_ptr<Request> request_from_js(Napi::Object object);
Napi::Object info_to_js(Napi::Env env, const NetworkInfo& info);
Napi::Object result_to_js(Napi::Env env, const Request::Result& result);

}  // namespace sightline
