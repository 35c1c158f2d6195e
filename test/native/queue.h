// A worker's requests by hand, as the bridge would make them.
#pragma once

#include <atomic>

#include "archives.h"
#include "engine/device/workers.h"
#include "plans.h"
#include "runner.h"

namespace sightline::test {

using std::chrono::milliseconds;

// One promise of the engine's, as the bridge would keep it.
struct Outcome {
  std::mutex mutex;
  std::condition_variable changed;
  int settled = 0;
  std::string code;  // empty when it was done
  int64_t batch = 0;
  at::Tensor map;

  void settle(std::function<void()> how) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      how();
      ++settled;
    }
    changed.notify_all();
  }
  Outcome& wait() {
    std::unique_lock<std::mutex> lock(mutex);
    EXPECT(changed.wait_for(lock, std::chrono::seconds(60), [&] { return settled > 0; }),
           "a request was never settled");
    return *this;
  }
};

class Flag {
 public:
  void raise() {
    // Told under the lock: whoever waits may destroy the flag as soon as it is free.
    const std::lock_guard<std::mutex> lock(mutex_);
    raised_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return raised_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool raised_ = false;
};

inline std::shared_ptr<Plan> plan_of(double factor) {
  Recorder record;
  record.output("map", record.step("scale", {record.image()}, {{"factor", factor}}));
  return record.plan();
}

// A plan that runs until it is cancelled.
inline std::shared_ptr<Plan> endless() {
  Recorder record;
  const int image = record.image();
  record.begin();
  const int inner = record.parameter();
  record.block().parameters.push_back(record.value());
  const auto body = record.end({record.step("relu", {inner})});
  record.output("map", record.loop("accumulate", {image}, body, 1e9, {1}));
  return record.plan(-1, 1);
}

struct Queue {
  Queue() : model(archive("mlp").load().release()) { model->network(8, 8); }

  std::unique_ptr<Request> request(std::shared_ptr<const Plan> plan, const std::shared_ptr<Outcome>& outcome) const {
    auto made = std::make_unique<Request>();
    made->model = model;
    made->plan = std::move(plan);
    made->height = made->width = 8;
    made->tensor = at::ones({3, 8, 8});
    made->cancellation = std::make_shared<Cancellation>();
    made->label = "image";
    made->done = [outcome](Request::Result result) {
      outcome->settle([&] {
        outcome->batch = result.batch;
        outcome->map = result.outputs.at(0).values;
      });
    };
    made->failed = [outcome](EngineError error) { outcome->settle([&] { outcome->code = error.code(); }); };
    return made;
  }
  // Submits one request; 1000 may wait.
  std::shared_ptr<Outcome> submit(
      Worker& worker, std::shared_ptr<const Plan> plan,
      const std::function<void(Request&)>& change = [](Request&) {}) const {
    auto outcome = std::make_shared<Outcome>();
    std::vector<std::unique_ptr<Request>> one;
    one.push_back(request(std::move(plan), outcome));
    change(*one[0]);
    worker.submit(std::move(one), 1000);
    return outcome;
  }

  std::shared_ptr<Model> model;
};

inline void ignore(EngineError) {}

inline int64_t in_flight() { return counters().queued + counters().running; }

}  // namespace sightline::test
