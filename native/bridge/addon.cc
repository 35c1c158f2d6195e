// What lib/engine/binding.ts sees: functions on handles, promises out.
#include "bridge/env_state.h"
#include "bridge/from_js.h"
#include "bridge/painting.h"
#include "bridge/process_functions.h"
#include "bridge/program_from_js.h"
#include "bridge/to_js.h"

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
  if (object.Has("shuffling")) options.shuffling = shuffling_from_js(object.Get("shuffling").As<Napi::Object>());
  const auto state = EnvState::of(env);
  return guarded(env, [&] {
    if (object.Has("program")) options.program = program_from_js(object.Get("program").As<Napi::Object>());
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
            auto external =
                Napi::External<ModelHandle>::New(js, handle, [](Napi::BasicEnv finalizing, ModelHandle* owned) {
                  if (owned->model)
                    Napi::MemoryManagement::AdjustExternalMemory(finalizing, -owned->model->weight_bytes());
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
  const auto output = info[3].IsString() ? info[3].As<Napi::String>().Utf8Value() : std::string();
  const auto state = EnvState::of(env);
  return guarded(env, [&] {
    if (!handle->model) throw EngineError("MODEL_CLOSED", "The model is closed.");
    auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
    handle->worker->post(
        [=, model = handle->model] {
          auto found = std::make_shared<NetworkInfo>(model->network(height, width, output).info());
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
  return guarded(
      env, [&] { return wrap(env, new std::shared_ptr<Plan>(plan_from_js(info[0].As<Napi::Object>())), kPlanTag); });
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

// run(model, plan, token, requests, {maxQueue, maxBatch, maxDelay, client}): one promise per request.
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
        request->client = options.Get("client").As<Napi::String>().Utf8Value();
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
      handle->worker->submit(std::move(requests),
                             static_cast<size_t>(options.Get("maxQueue").As<Napi::Number>().Int64Value()));
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
  add_process_functions(env, exports);
  exports.Set("paint", Napi::Function::New(env, paint_from_js));
  exports.Set("stop", Napi::Function::New(env, stop));
  return exports;
}

}  // namespace

}  // namespace sightline

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return sightline::init(env, exports); }

NODE_API_MODULE(sightline, Init)
