// One thread per device runs all LibTorch work; a bounded queue feeds it, and it gathers requests into batches.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "engine/device/batch_limits.h"
#include "engine/device/request.h"
#include "engine/device/transfer.h"

namespace sightline {

// On the CPU the results are there when it returns; a device that works by itself is left to it.
BatchResult run_batch_of(const std::shared_ptr<const Plan>& plan, Network& network, Model& model,
                         const at::Tensor& images, const Asked& asked, Transfer& transfer,
                         const std::function<bool()>& cancelled);

// What a worker hands its batches to.
struct WorkerParts {
  // Runs the batch of a model's network; what it gives is fetched by `transfer`.
  std::function<BatchResult(const std::shared_ptr<const Plan>&, Network&, Model&, const at::Tensor& images,
                            const Asked&, Transfer&, const std::function<bool()>& cancelled)>
      run = run_batch_of;
  std::function<std::unique_ptr<Transfer>(at::Device)> transfer = transfer_for;
};

// On the CPU one batch after the other is gathered, run and delivered; between the chunks of a long job, batches that ask
// for much less pass. On a device that works by itself the next batch is
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
  using Position = std::deque<Item>::iterator;
  Position next_in_turn(const std::function<bool(const Request&)>& may);
  bool is_due();
  Requests take(Position first, std::unique_lock<std::mutex>& lock, bool waits);
  bool run_shorter(int64_t cost);
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
  std::map<std::string, int64_t> served_;  // by client: the number of the batch that its request began last
  int64_t turns_ = 0;
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

}  // namespace sightline
