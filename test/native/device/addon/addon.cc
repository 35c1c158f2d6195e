// Puts the emulated device beside the engine in a process of Node. It knows nothing of the engine: it gives LibTorch a
// third party's device, and tells the tests what it saw.
#include <napi.h>

#include "device/device.h"
#include "device/memory.h"

namespace {

using namespace sightline::test;

Napi::Object counts_to_js(Napi::Env env, const std::map<std::string, int64_t>& counts) {
  auto object = Napi::Object::New(env);
  for (const auto& [name, count] : counts) object.Set(name, static_cast<double>(count));
  return object;
}

// waits(): what was seen since `reset`.
Napi::Value waits_to_js(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  const auto seen = waits();
  auto object = Napi::Object::New(env);
  object.Set("readBacks", counts_to_js(env, seen.read_backs));
  object.Set("uploads", counts_to_js(env, seen.uploads));
  auto faults = Napi::Array::New(env);
  for (const auto& fault : seen.faults) faults.Set(faults.Length(), fault);
  object.Set("faults", faults);
  return object;
}

void reset(const Napi::CallbackInfo&) { reset_waits(); }

// limitMemory(bytes or null)
void limit(const Napi::CallbackInfo& info) {
  limit_memory(info[0].IsNumber() ? std::optional(info[0].As<Napi::Number>().Int64Value()) : std::nullopt);
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  start_device();
  exports.Set("waits", Napi::Function::New(env, waits_to_js));
  exports.Set("reset", Napi::Function::New(env, reset));
  exports.Set("limitMemory", Napi::Function::New(env, limit));
  return exports;
}

}  // namespace

NODE_API_MODULE(emulated_device, init)
