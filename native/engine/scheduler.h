// One worker thread per device runs all LibTorch work; a bounded queue feeds it and gathers requests into batches.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "engine/batch_limits.h"
#include "engine/errors.h"
#include "engine/interpreter.h"
#include "engine/model.h"
#include "engine/plan.h"
#include "engine/preprocess.h"
#include "engine/transfer.h"

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
  std::vector<int64_t> targets, against;      // as run_plan takes them, equally many
  std::map<std::string, at::Tensor> given;     // what the plan's `given` steps read, batch axis (1) first; copies
  int64_t max_batch = 8;
  std::chrono::microseconds max_delay{0};
  std::string label;  // names the image in messages
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

// On the CPU the results are there when it returns; a device that works by itself is left to it.
BatchResult run_batch_of(const std::shared_ptr<const Plan>& plan, Network& network, Model& model, const at::Tensor& images,
                         const Asked& asked, Transfer& transfer, const std::function<bool()>& cancelled);

// What a worker hands its batches to.
struct WorkerParts {
  // Runs the batch of a model's network; what it gives is fetched by `transfer`.
  std::function<BatchResult(const std::shared_ptr<const Plan>&, Network&, Model&, const at::Tensor& images, const Asked&, Transfer&,
                            const std::function<bool()>& cancelled)>
      run = run_batch_of;
  std::function<std::unique_ptr<Transfer>(at::Device)> transfer = transfer_for;
};

// On the CPU one batch after the other is gathered, run and delivered. On a device that works by itself the next batch is
// gathered and handed over while the one before is computed, if it is due: no more than two are under way.
class Worker {
 public:
  explicit Worker(at::Device device, WorkerParts parts = {});
  ~Worker();

  // Throws EngineError QUEUE_FULL when `limit` requests wait, MODEL_CLOSED once stopped. All or none are taken.
  void submit(std::vector<std::unique_ptr<Request>> requests, size_t limit);
  // Any thread: takes the waiting requests that nobody waits for any more out of the queue, and fails them at once by ABORTED.
  void withdraw_cancelled();
  // How many requests wait.
  size_t waiting() const;
  // Runs a task of its own between requests, in order; `failed` gets what it throws.
  void post(std::function<void()> task, std::function<void(EngineError)> failed);
  // Finishes the batch at hand at the next step, fails what waits, and joins. Idempotent.
  void stop();

 private:
  struct Item {
    std::unique_ptr<Request> request;
    std::function<void()> task;
    std::function<void(EngineError)> failed;
  };
  using Requests = std::vector<std::unique_ptr<Request>>;
  // A batch that the device works on.
  struct Launched {
    Requests requests;
    BatchResult result;  // whose outputs' values are those of `arrival`
    Arrival arrival;
  };

  void loop();
  void apply_threads();
  size_t most_images(const Request& first) const;
  bool is_due() const;
  Requests gather(std::unique_lock<std::mutex>& lock);
  void run_batch(Requests batch);
  void run_in_memory(Network& network, Requests requests);
  std::optional<EngineError> launch(Network& network, Requests& requests);
  at::Tensor prepare(const Request& request);
  void let_go();
  void deliver_first();
  void deliver(Launched launched);

  at::Device device_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Item> queue_;
  size_t waiting_requests_ = 0;
  std::atomic<bool> stopping_{false};
  // The thread's own.
  const WorkerParts parts_;
  std::unique_ptr<Transfer> transfer_;  // made by the first batch
  std::deque<Launched> under_way_;
  BatchLimits limits_;
  std::vector<std::weak_ptr<Model>> models_;  // that ran here
  int threads_ = 0;                           // that were applied
  std::thread thread_;                        // last: it uses all of the above
};

// LibTorch's threads on the CPU, of workers that run as well as of later ones; 0 for LibTorch's own choice.
void set_engine_threads(int count);
int engine_threads();

// The worker of a device, started on first use.
std::shared_ptr<Worker> worker_for(at::Device device);
// Of every worker: see Worker::withdraw_cancelled.
void withdraw_cancelled();
// Stops and joins every worker. LibTorch work that still runs while the process exits would crash it.
// `for_good`: the process ends, so none may be started again.
void stop_workers(bool for_good);
// Whether they were stopped for good.
bool is_shut_down();

}  // namespace sightline
