#include "bridge/env_state.h"

#include <algorithm>

namespace sightline {

namespace {

// Held while the last environment stops the engine, lest an environment that starts at that moment gets a worker that
// is about to stop.
std::mutex environments_mutex;
int live_environments = 0;

}  // namespace

std::shared_ptr<EnvState> EnvState::create(Napi::Env env) {
  auto state = std::make_shared<EnvState>();
  state->function_ = Function::New(env, "sightline", /*maxQueueSize=*/0, /*initialThreadCount=*/1);
  // Referenced only while a promise is owed: an open model alone must not keep the process alive.
  state->function_.Unref(env);
  env.SetInstanceData<std::shared_ptr<EnvState>>(new std::shared_ptr<EnvState>(state));
  {
    const std::lock_guard<std::mutex> lock(environments_mutex);
    live_environments += 1;
  }
  // After the function's own hook, hence run before it: Node runs hooks last in, first out.
  env.AddCleanupHook([state] { state->tear_down(); });
  return state;
}

std::shared_ptr<EnvState> EnvState::of(Napi::Env env) { return *env.GetInstanceData<std::shared_ptr<EnvState>>(); }

void EnvState::begin(Napi::Env env) {
  if (owed_++ == 0) function_.Ref(env);
}

void EnvState::deliver(Completion completion) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (is_dead_) return;
  auto* data = new Completion(std::move(completion));
  if (function_.NonBlockingCall(data) != napi_ok) delete data;
}

void EnvState::call_js(Napi::Env env, Napi::Function, std::nullptr_t*, Completion* data) {
  const std::unique_ptr<Completion> completion(data);
  // A null environment means that Node drains the queue while the environment ends: nothing can be settled any more.
  if (env == nullptr) return;
  const auto state = of(env);
  const Napi::HandleScope scope(env);
  // First, so that a completion that throws does not keep the process alive for ever.
  if (--state->owed_ == 0) state->function_.Unref(env);
  (*completion)(env);
}

void EnvState::watch(const std::shared_ptr<Cancellation>& token) {
  std::erase_if(tokens_, [](const auto& weak) { return weak.expired(); });
  tokens_.push_back(token);
}

void EnvState::tear_down() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_dead_ = true;
    function_.Release();
  }
  // The worker may be reading pixels that lie in this environment's memory, which goes after this hook.
  for (const auto& weak : tokens_) {
    if (const auto token = weak.lock()) token->cancel_and_wait();
  }
  // The last environment takes the threads along; a later one would start them again.
  const std::lock_guard<std::mutex> lock(environments_mutex);
  if (--live_environments == 0) stop_workers(/*for_good=*/false);
}

}  // namespace sightline
