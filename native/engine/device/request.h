// One image and what is asked of it, on its way through a worker.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/device/batch_limits.h"
#include "engine/device/preprocess.h"
#include "engine/errors.h"
#include "engine/model.h"
#include "engine/steps/interpreter.h"
#include "engine/steps/plan.h"

namespace sightline {

// Whether anybody still waits for a request; shared by the requests of one call.
class Cancellation {
 public:
  void cancel() { is_cancelled_ = true; }
  bool is_cancelled() const { return is_cancelled_; }

  // Any thread: after it, nobody reads the caller's memory any more, so that memory may go.
  void cancel_and_wait() {
    is_cancelled_ = true;
    const std::lock_guard<std::mutex> lock(reading_);
  }
  // The worker's thread: reads the caller's memory unless the request is cancelled. Throws EngineError ABORTED.
  template <typename Read>
  auto read(Read read) {
    const std::lock_guard<std::mutex> lock(reading_);
    if (is_cancelled_) throw EngineError("ABORTED", "The request was aborted.");
    return read();
  }

 private:
  std::atomic<bool> is_cancelled_{false};
  std::mutex reading_;
};

// One image and what is asked of it.
struct Request {
  std::shared_ptr<Model> model;
  std::shared_ptr<const Plan> plan;
  // Either pixels with their preprocessing, or a finished [3, H, W] float32 tensor; both in the caller's memory.
  at::Tensor pixels;
  std::optional<Preprocessing> preprocessing;
  at::Tensor tensor;
  int64_t height = 0, width = 0;
  std::vector<int64_t> targets, against;    // as run_plan takes them, equally many
  std::map<std::string, at::Tensor> given;  // what the plan's `given` steps read, batch axis (1) first; copies
  int64_t max_batch = 8;
  std::chrono::microseconds max_delay{0};
  std::string client;  // whose it is: requests of different clients take turns
  std::string label;   // names the image in messages
  std::shared_ptr<Cancellation> cancellation;

  struct Result {
    std::vector<BatchOutput> outputs;  // without the batch axis
    std::vector<int64_t> targets, against;
    int64_t operators, chunk, batch;
  };
  // Exactly one of the two is called, once, on the worker thread or on the thread that stops it or withdraws the request.
  std::function<void(Result)> done;
  std::function<void(EngineError)> failed;
};

struct Counters {
  // An image is queued until its batch is gathered, then running until it is settled.
  std::atomic<int64_t> models{0}, weight_bytes{0}, queued{0}, running{0}, completed{0}, failed{0}, batches{0};
  // Batches that were too large for the device's memory and were run as two.
  std::atomic<int64_t> halved_batches{0};
};
Counters& counters();

// Fails a request that waits still.
void fail(Request& request, const EngineError& error);
// Fails one that was running. Counted before it is told: whoever reads the counters then must not find it running.
void settle(Request& request, const EngineError& error);

// Which batches share its limit of memory.
BatchLimits::Kind kind_of(const Request& request);

}  // namespace sightline
