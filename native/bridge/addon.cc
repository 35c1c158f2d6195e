// What lib/engine/binding.ts sees: functions on handles, promises out.
#include "bridge/env_state.h"
#include "bridge/marshal.h"
#include "bridge/painting.h"

#include "engine/device/captured_graph.h"
#include "engine/device/device_memory.h"
#include "engine/device/replay.h"
#include "engine/steps/operations.h"
#include "process/fence.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/cuda.h>
#include <torch/version.h>

namespace sightline {

namespace {

struct ModelHandle {
  std::shared_ptr<Model> model;
  std::shared_ptr<Worker> worker;
};

using Token = std::shared_ptr<Cancellation>;

// An External of a wrong kind would otherwise be read as whatever it is not.
constexpr napi_type_tag kModelTag{0x5b9d4e6f8c214a07, 0x9f3c1d2ab07e64c1};
constexpr napi_type_tag kPlanTag{0x2e7a90c41f5b4d38, 0x8d61f7b3059ac2e4};
constexpr napi_type_tag kTokenTag{0xc81f36a7d2094be5, 0xb4e7205d9c8f1a36};

template <typename T>
T* unwrap(const Napi::Value& value, const napi_type_tag& tag, const char* what) {
  if (value.IsExternal()) {
    const auto external = value.As<Napi::External<T>>();
    if (external.CheckTypeTag(&tag)) return external.Data();
  }
  throw Napi::TypeError::New(value.Env(), std::string("Expected a ") + what + " handle.");
}

template <typename T>
Napi::External<T> wrap(Napi::Env env, T* data, const napi_type_tag& tag) {
  auto external = Napi::External<T>::New(env, data, [](Napi::BasicEnv, T* owned) { delete owned; });
  external.TypeTag(&tag);
  return external;
}

// Counted until its tensors are freed, in whatever way it ends: closed, collected, or never handed over because the
// environment that asked for it is gone.
std::shared_ptr<Model> counted_model(const LoadOptions& options, at::Device device) {
  std::shared_ptr<Model> model(new Model(options, device), [](Model* owned) {
    counters().models -= 1;
    counters().weight_bytes -= owned->weight_bytes();
    delete owned;
  });
  counters().models += 1;
  counters().weight_bytes += model->weight_bytes();
  return model;
}

// A model's tensors die on the thread that made them, which is what CUDA wants. Where that thread has ended with the
// last environment they die here; when the process ends they are leaked.
void release_model(ModelHandle& handle) {
  if (!handle.model) return;
  auto* kept = new std::shared_ptr<Model>(std::move(handle.model));
  try {
    handle.worker->post([kept] { delete kept; }, [kept](EngineError) { delete kept; });
  } catch (const EngineError&) {
    if (!is_shut_down()) delete kept;
  }
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

Napi::Value load(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  const auto object = info[0].As<Napi::Object>();
  LoadOptions options;
  options.path = object.Get("path").As<Napi::String>();
  if (object.Has("file")) options.file = object.Get("file").As<Napi::String>();
  options.device = object.Get("device").As<Napi::String>();
  options.dtype = object.Get("dtype").As<Napi::String>();
  if (object.Has("cudaGraphs")) options.cuda_graphs = object.Get("cudaGraphs").ToBoolean();
  options.optimize = object.Get("optimize").As<Napi::Boolean>();
  if (object.Has("trusted")) options.trusted = object.Get("trusted").ToBoolean();
  if (object.Has("channels")) options.channels = object.Get("channels").As<Napi::Number>().Int64Value();
  if (object.Has("isChannelsLast")) options.choice.is_channels_last = object.Get("isChannelsLast").As<Napi::Boolean>();
  if (object.Has("output")) options.choice.output = object.Get("output").As<Napi::String>();
  if (object.Has("scores")) options.choice.scores = object.Get("scores").As<Napi::String>();
  if (object.Has("weights")) options.weights = weights_from_js(object.Get("weights").As<Napi::Object>());
  const auto state = EnvState::of(env);
  return guarded(env, [&] {
    const auto device = resolve_device(options.device);
    auto worker = worker_for(device);
    auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
    worker->post(
        [=] {
          auto model = counted_model(options, device);
          state->deliver([=](Napi::Env js) {
            Napi::MemoryManagement::AdjustExternalMemory(js, model->weight_bytes());
            auto result = Napi::Object::New(js);
            auto* handle = new ModelHandle{model, worker};
            auto external = Napi::External<ModelHandle>::New(js, handle, [](Napi::BasicEnv finalizing, ModelHandle* owned) {
              if (owned->model) Napi::MemoryManagement::AdjustExternalMemory(finalizing, -owned->model->weight_bytes());
              release_model(*owned);
              delete owned;
            });
            external.TypeTag(&kModelTag);
            result.Set("handle", external);
            result.Set("device", device.str());
            result.Set("weightBytes", static_cast<double>(model->weight_bytes()));
            auto remarks = Napi::Array::New(js);
            for (const auto& remark : model->remarks()) remarks.Set(remarks.Length(), remark);
            result.Set("remarks", remarks);
            deferred->Resolve(result);
          });
        },
        [=](EngineError error) {
          state->deliver([=](Napi::Env js) { deferred->Reject(to_js_error(js, error).Value()); });
        });
    state->begin(env);
    return deferred->Promise();
  });
}

Napi::Value inspect(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  auto* handle = unwrap<ModelHandle>(info[0], kModelTag, "model");
  const auto height = info[1].As<Napi::Number>().Int64Value();
  const auto width = info[2].As<Napi::Number>().Int64Value();
  const auto state = EnvState::of(env);
  return guarded(env, [&] {
    if (!handle->model) throw EngineError("MODEL_CLOSED", "The model is closed.");
    auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
    handle->worker->post(
        [=, model = handle->model] {
          auto found = std::make_shared<NetworkInfo>(model->network(height, width).info());
          state->deliver([=](Napi::Env js) { deferred->Resolve(info_to_js(js, *found)); });
        },
        [=](EngineError error) {
          state->deliver([=](Napi::Env js) { deferred->Reject(to_js_error(js, error).Value()); });
        });
    state->begin(env);
    return deferred->Promise();
  });
}

Napi::Value plan(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  return guarded(env, [&] {
    return wrap(env, new std::shared_ptr<Plan>(plan_from_js(info[0].As<Napi::Object>())), kPlanTag);
  });
}

Napi::Value token(const Napi::CallbackInfo& info) {
  auto shared = std::make_shared<Cancellation>();
  EnvState::of(info.Env())->watch(shared);
  return wrap(info.Env(), new Token(shared), kTokenTag);
}

// What of it still waits is rejected at once, what is being computed at the engine's next look.
void cancel(const Napi::CallbackInfo& info) {
  (*unwrap<Token>(info[0], kTokenTag, "token"))->cancel();
  withdraw_cancelled();
}

// How many images wait in the queue of the model's device, whoever asked for them.
Napi::Value waiting(const Napi::CallbackInfo& info) {
  const auto* handle = unwrap<ModelHandle>(info[0], kModelTag, "model");
  return Napi::Number::New(info.Env(), static_cast<double>(handle->worker->waiting()));
}

// run(model, plan, token, requests, {maxQueue, maxBatch, maxDelay}): one promise per request.
Napi::Value run(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  auto* handle = unwrap<ModelHandle>(info[0], kModelTag, "model");
  const auto& shared_plan = *unwrap<std::shared_ptr<Plan>>(info[1], kPlanTag, "plan");
  const auto& cancellation = *unwrap<Token>(info[2], kTokenTag, "token");
  const auto objects = info[3].As<Napi::Array>();
  const auto options = info[4].As<Napi::Object>();
  const auto state = EnvState::of(env);
  auto promises = Napi::Array::New(env, objects.Length());
  // Each holds its request's pixels until the request is settled. Raw pointers: a reference may only be destroyed on
  // the JS thread, and is leaked with the environment otherwise.
  std::vector<Napi::ObjectReference*> pins;
  std::vector<std::shared_ptr<Napi::Promise::Deferred>> promised;
  // A promise that is never settled is never freed, and a pin holds its pixels: what is refused must leave neither.
  guarded(env, [&] {
    if (!handle->model) throw EngineError("MODEL_CLOSED", "The model is closed.");
    try {
      std::vector<std::unique_ptr<Request>> requests;
      for (uint32_t i = 0; i < objects.Length(); ++i) {
        const auto object = objects.Get(i).As<Napi::Object>();
        auto request = request_from_js(object);
        request->model = handle->model;
        request->plan = shared_plan;
        request->cancellation = cancellation;
        request->max_batch = options.Get("maxBatch").As<Napi::Number>().Int64Value();
        request->max_delay = std::chrono::microseconds(
            static_cast<int64_t>(options.Get("maxDelay").As<Napi::Number>().DoubleValue() * 1000.0));
        auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
        promised.push_back(deferred);
        promises.Set(i, deferred->Promise());
        auto* pin = new Napi::ObjectReference(Napi::Persistent(object));
        pins.push_back(pin);
        request->done = [=](Request::Result result) {
          state->deliver([=, result = std::move(result)](Napi::Env js) {
            delete pin;
            try {
              deferred->Resolve(result_to_js(js, result));
            } catch (const Napi::Error& error) {
              // A result that V8 has no room for.
              deferred->Reject(error.Value());
            }
          });
        };
        request->failed = [=](EngineError error) {
          state->deliver([=](Napi::Env js) {
            delete pin;
            deferred->Reject(to_js_error(js, error).Value());
          });
        };
        requests.push_back(std::move(request));
      }
      const auto count = requests.size();
      handle->worker->submit(std::move(requests), static_cast<size_t>(options.Get("maxQueue").As<Napi::Number>().Int64Value()));
      for (size_t i = 0; i < count; ++i) state->begin(env);
    } catch (...) {
      for (auto* pin : pins) delete pin;
      for (const auto& deferred : promised) deferred->Resolve(env.Undefined());
      throw;
    }
  });
  return promises;
}

// Frees the model once what was queued before is done.
Napi::Value close(const Napi::CallbackInfo& info) {
  const auto env = info.Env();
  auto* handle = unwrap<ModelHandle>(info[0], kModelTag, "model");
  const auto state = EnvState::of(env);
  auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
  if (!handle->model) {
    deferred->Resolve(env.Undefined());
    return deferred->Promise();
  }
  guarded(env, [&] {
    Napi::MemoryManagement::AdjustExternalMemory(env, -handle->model->weight_bytes());
    auto* kept = new std::shared_ptr<Model>(std::move(handle->model));
    const auto resolve = [=] { state->deliver([=](Napi::Env js) { deferred->Resolve(js.Undefined()); }); };
    const auto release = [=] {
      delete kept;
      resolve();
    };
    handle->worker->post(release, [=](EngineError) { release(); });
    state->begin(env);
  });
  return deferred->Promise();
}

Napi::Value stats(const Napi::CallbackInfo& info) {
  auto object = Napi::Object::New(info.Env());
  const auto set = [&](const char* name, const std::atomic<int64_t>& value) { object.Set(name, static_cast<double>(value.load())); };
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

void stop(const Napi::CallbackInfo&) { stop_workers(/*for_good=*/true); }

Napi::Object init(Napi::Env env, Napi::Object exports) {
  // Otherwise the interpreter rewraps what operators throw, and running out of memory looks like anything else.
  FLAGS_torch_jit_enable_rethrow_caught_exception = true;
  EnvState::create(env);
  exports.Set("load", Napi::Function::New(env, load));
  exports.Set("inspect", Napi::Function::New(env, inspect));
  exports.Set("plan", Napi::Function::New(env, plan));
  exports.Set("token", Napi::Function::New(env, token));
  exports.Set("cancel", Napi::Function::New(env, cancel));
  exports.Set("waiting", Napi::Function::New(env, waiting));
  exports.Set("run", Napi::Function::New(env, run));
  exports.Set("close", Napi::Function::New(env, close));
  exports.Set("stats", Napi::Function::New(env, stats));
  exports.Set("deviceMemory", Napi::Function::New(env, memory_of_device));
  exports.Set("operations", Napi::Function::New(env, operations_to_js));
  exports.Set("versions", Napi::Function::New(env, versions));
  exports.Set("setThreads", Napi::Function::New(env, set_threads));
  exports.Set("fence", Napi::Function::New(env, fence));
  exports.Set("paint", Napi::Function::New(env, paint_from_js));
  exports.Set("stop", Napi::Function::New(env, stop));
  return exports;
}

}  // namespace

}  // namespace sightline

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return sightline::init(env, exports); }

NODE_API_MODULE(sightline, Init)
