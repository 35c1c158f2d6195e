// The one place that includes napi.h; CMakeLists.txt sets the defines that go with it.
#pragma once

#include <napi.h>

#include "engine/errors.h"

namespace sightline {

// An Error with `code` and `details`; lib/engine/binding.ts turns it into a SightlineError.
inline Napi::Error to_js_error(Napi::Env env, const EngineError& error) {
  auto value = Napi::Error::New(env, error.message());
  value.Value().Set("code", error.code());
  if (!error.details().empty()) value.Value().Set("libtorch", error.details());
  return value;
}

// Runs `work` on the JS thread now; what the engine throws becomes a JS error.
template <typename Work>
auto guarded(Napi::Env env, Work work) {
  try {
    return work();
  } catch (const EngineError& error) {
    throw to_js_error(env, error);
  }
}

}  // namespace sightline
