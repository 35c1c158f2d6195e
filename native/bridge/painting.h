// paint(): a heatmap over a picture, off the JS thread.
#pragma once

#include "bridge/napi_setup.h"

namespace sightline {

Napi::Value paint_from_js(const Napi::CallbackInfo& info);

}  // namespace sightline
