// What one Node environment (the main thread or a worker_thread) shares with the engine's threads.
#pragma once

#include "bridge/napi_setup.h"
#include "engine/device/workers.h"

namespace sightline {

class EnvState {
 public:
  using Completion = std::function<void(Napi::Env)>;

  // Creates the state and hangs it on the environment's life. Once per environment.
  static std::shared_ptr<EnvState> create(Napi::Env env);
  static std::shared_ptr<EnvState> of(Napi::Env env);

  // JS thread: a promise is owed, so the process must not end before it settles.
  void begin(Napi::Env env);
  // Any thread: runs `completion` on the JS thread, then counts the promise as settled. Once the environment is gone
  // it is destroyed unrun; what it captures must not need the JS thread for its destruction, except through `Leaked`.
  void deliver(Completion completion);

  // JS thread: cancels the token when the environment dies before its work is done, and waits until nothing of the
  // environment's memory is read any more.
  void watch(const std::shared_ptr<Cancellation>& token);

 private:
  struct Call;
  static void call_js(Napi::Env env, Napi::Function callback, std::nullptr_t* context, Completion* data);
  using Function = Napi::TypedThreadSafeFunction<std::nullptr_t, Completion, &EnvState::call_js>;

  void tear_down();

  std::mutex mutex_;
  bool is_dead_ = false;
  int64_t owed_ = 0;
  Function function_;
  std::vector<std::weak_ptr<Cancellation>> tokens_;
};

}  // namespace sightline
