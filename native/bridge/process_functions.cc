#include "bridge/process_functions.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/cuda.h>
#include <torch/version.h>

#include <limits>

#include "engine/device/captured_graph.h"
#include "engine/device/device_memory.h"
#include "engine/device/replay.h"
#include "engine/device/workers.h"
#include "engine/model.h"
#include "engine/steps/operations.h"
#include "process/fence.h"

namespace sightline {

namespace {

Napi::Value stats(const Napi::CallbackInfo& info) {
  auto object = Napi::Object::New(info.Env());
  const auto set = [&](const char* name, const std::atomic<int64_t>& value) {
    object.Set(name, static_cast<double>(value.load()));
  };
  set("models", counters().models);
  set("weightBytes", counters().weight_bytes);
  set("queued", counters().queued);
  set("running", counters().running);
  set("completed", counters().completed);
  set("failed", counters().failed);
  set("batches", counters().batches);
  set("halvedBatches", counters().halved_batches);
  set("graphsCaptured", replay_counters().captured);
  set("graphsReplayed", replay_counters().replayed);
  set("graphsRefused", replay_counters().refused);
  return object;
}

// deviceMemory(device, resetPeak): null on the CPU.
Napi::Value memory_of_device(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto device = resolve_device(info[0].As<Napi::String>().Utf8Value());
    const auto memory = device_memory(device, info[1].ToBoolean());
    if (!memory) return env.Null();
    auto object = Napi::Object::New(env);
    object.Set("allocated", static_cast<double>(memory->allocated));
    object.Set("peak", static_cast<double>(memory->peak));
    object.Set("reserved", static_cast<double>(memory->reserved));
    return object;
  });
}

// otherDevices(): the names of a third party's devices.
Napi::Value other_devices_to_js(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  auto names = Napi::Array::New(env);
  for (const auto& name : other_devices()) names.Set(names.Length(), name);
  return names;
}

// operations(): the engine's table of steps, by name.
Napi::Value operations_to_js(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  const auto count = [&](const Count& of) {
    auto pair = Napi::Array::New(env, 2);
    pair.Set(0u, Napi::Number::New(env, of.least));
    pair.Set(1u, Napi::Number::New(env, of.most == Count::kAny ? std::numeric_limits<double>::infinity() : of.most));
    return pair;
  };
  auto table = Napi::Object::New(env);
  for (const auto& [name, operation] : operations()) {
    auto entry = Napi::Object::New(env);
    entry.Set("kind", operation.control != Control::None ? "control" : operation.reads_target ? "target" : "tensor");
    entry.Set("inputs", count(operation.inputs));
    entry.Set("outputs", count(operation.outputs));
    table.Set(name, entry);
  }
  return table;
}

Napi::Value versions(const Napi::CallbackInfo& info) {
  auto object = Napi::Object::New(info.Env());
  object.Set("libtorch", TORCH_VERSION);
  object.Set("cpuCapability", at::get_cpu_capability());
  object.Set("threads", engine_threads() > 0 ? engine_threads() : at::get_num_threads());
  object.Set("cudaGraphs", is_capture_built());
  object.Set("cudaDevices", torch::cuda::is_available() ? static_cast<double>(torch::cuda::device_count()) : 0.0);
  return object;
}

// fence({addressBytes, processorSeconds}): what became of each limit.
Napi::Value fence(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  const auto object = info[0].As<Napi::Object>();
  FenceLimits limits;
  limits.address_bytes = object.Get("addressBytes").As<Napi::Number>().Int64Value();
  limits.processor_seconds = object.Get("processorSeconds").As<Napi::Number>().Int64Value();
  const auto raised = raise_fence(limits);
  auto result = Napi::Object::New(env);
  result.Set("memory", raised.memory);
  result.Set("files", raised.files);
  return result;
}

void set_threads(const Napi::CallbackInfo& info) { set_engine_threads(info[0].As<Napi::Number>().Int32Value()); }
void limit_threads(const Napi::CallbackInfo& info) { limit_engine_threads(info[0].As<Napi::Number>().Int32Value()); }

}  // namespace

void add_process_functions(Napi::Env env, Napi::Object exports) {
  exports.Set("stats", Napi::Function::New(env, stats));
  exports.Set("deviceMemory", Napi::Function::New(env, memory_of_device));
  exports.Set("otherDevices", Napi::Function::New(env, other_devices_to_js));
  exports.Set("operations", Napi::Function::New(env, operations_to_js));
  exports.Set("versions", Napi::Function::New(env, versions));
  exports.Set("setThreads", Napi::Function::New(env, set_threads));
  exports.Set("limitThreads", Napi::Function::New(env, limit_threads));
  exports.Set("fence", Napi::Function::New(env, fence));
}

}  // namespace sightline
