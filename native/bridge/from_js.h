// JS values as the engine's structures.
#pragma once

#include "bridge/napi_setup.h"

#include "engine/device/workers.h"
#include "engine/programs/network.h"
#include "engine/shuffled_weights.h"
#include "engine/steps/plan.h"

namespace sightline {

WeightPlan weights_from_js(Napi::Object object);
Shuffling shuffling_from_js(Napi::Object object);
TensorPart part_from_js(Napi::Object object);
std::shared_ptr<Plan> plan_from_js(Napi::Object object);
// Reads one request. Its pixels are not copied: `object` must live until the request is settled.
std::unique_ptr<Request> request_from_js(Napi::Object object);

}  // namespace sightline
