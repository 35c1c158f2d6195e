// What a worker does with a device that works by itself, and with one that is too small: both made up, on the CPU.
#include "queue.h"

namespace sightline::test {

namespace {

// A device whose results arrive when the test says so.
struct Remote {
  std::mutex mutex;
  std::condition_variable changed;
  std::string order;  // + a batch is handed over, - its results are waited for, . they are there
  int allowed = 0;    // results that may arrive
  int staged = 0;

  void note(char what) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      order += what;
    }
    changed.notify_all();
  }
  void allow(int count) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      allowed += count;
    }
    changed.notify_all();
  }
  // Waits until the order so far is this.
  void expect(const std::string& wanted) {
    std::unique_lock<std::mutex> lock(mutex);
    EXPECT(changed.wait_for(lock, std::chrono::seconds(30), [&] { return order == wanted; }), "the order is ", order,
           ", not ", wanted);
  }
  WorkerParts parts();
};

class RemoteTransfer : public Transfer {
 public:
  explicit RemoteTransfer(Remote& remote) : remote_(remote) {}
  bool is_asynchronous() const override { return true; }
  at::Tensor stage(const at::Tensor& host) override {
    const std::lock_guard<std::mutex> lock(remote_.mutex);
    ++remote_.staged;
    return host.clone();
  }
  at::Tensor send(const at::Tensor& staged) override { return staged.clone(); }
  at::Tensor beside(const std::function<at::Tensor()>& work) override { return work(); }
  Arrival fetch(std::vector<at::Tensor> tensors) override {
    remote_.note('+');
    // Results are not what they will be until they are waited for.
    std::vector<at::Tensor> landing;
    for (const auto& tensor : tensors) landing.push_back(at::full_like(tensor, -1));
    return {landing, [this, landing, tensors] {
              remote_.note('-');
              std::unique_lock<std::mutex> lock(remote_.mutex);
              EXPECT(remote_.changed.wait_for(lock, std::chrono::seconds(30), [&] { return remote_.allowed > 0; }));
              --remote_.allowed;
              for (size_t i = 0; i < landing.size(); ++i) landing[i].copy_(tensors[i]);
              remote_.order += '.';
            }};
  }

 private:
  Remote& remote_;
};

WorkerParts Remote::parts() {
  WorkerParts parts;
  parts.transfer = [this](at::Device) { return std::make_unique<RemoteTransfer>(*this); };
  return parts;
}

// Parts whose runs fail for more than `fits` images; notes the size of each run.
struct Small {
  std::mutex mutex;
  std::vector<int64_t> sizes;
  std::atomic<int64_t> fits{1};
  std::string message = "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: can't allocate memory";

  WorkerParts parts() {
    WorkerParts parts;
    parts.run = [this](const std::shared_ptr<const Plan>& plan, Network& network, Model& model,
                       const at::Tensor& images, const Asked& asked, Transfer& transfer,
                       const std::function<bool()>& cancelled) {
      {
        const std::lock_guard<std::mutex> lock(mutex);
        sizes.push_back(images.size(0));
      }
      if (images.size(0) > fits) throw c10::Error({"run", __FILE__, __LINE__}, message);
      return run_batch_of(plan, network, model, images, asked, transfer, cancelled);
    };
    return parts;
  }
  std::vector<int64_t> taken() {
    const std::lock_guard<std::mutex> lock(mutex);
    return std::exchange(sizes, {});
  }
};

// `count` requests whose images are filled with 0, 1, 2...; waiting until `go`, so that they make one batch.
std::vector<std::shared_ptr<Outcome>> submit_numbered(const Queue& queue, Worker& worker,
                                                      const std::shared_ptr<const Plan>& plan, int count, Flag& go,
                                                      int64_t max_batch = 8) {
  worker.post([&] { go.wait(); }, ignore);
  std::vector<std::shared_ptr<Outcome>> outcomes;
  for (int i = 0; i < count; ++i) {
    outcomes.push_back(queue.submit(worker, plan, [&](Request& request) {
      request.tensor = at::full({3, 8, 8}, i);
      request.max_batch = max_batch;
    }));
  }
  return outcomes;
}

void expect_numbered(const std::vector<std::shared_ptr<Outcome>>& outcomes, double factor) {
  for (size_t i = 0; i < outcomes.size(); ++i) {
    EXPECT_EQUAL(outcomes[i]->wait().code, std::string(), "request ", i);
    EXPECT(outcomes[i]->map.equal(at::full({3, 8, 8}, factor * static_cast<double>(i))), "request ", i);
  }
}

}  // namespace

TEST("device: the next batch is handed over before the results of the one before are waited for") {
  Queue queue;
  Remote remote;
  Worker worker(at::kCPU, remote.parts());
  Flag go;
  const auto outcomes = submit_numbered(queue, worker, plan_of(2), 6, go, 2);
  go.raise();
  // Two under way, never more.
  remote.expect("++-");
  EXPECT_EQUAL(counters().running.load(), 4);
  EXPECT_EQUAL(counters().queued.load(), 2);
  EXPECT_EQUAL(outcomes[0]->settled, 0);
  remote.allow(1);
  remote.expect("++-.+-");
  EXPECT_EQUAL(outcomes[0]->wait().batch, 2);
  remote.allow(2);
  remote.expect("++-.+-.-.");
  expect_numbered(outcomes, 2);
  EXPECT_EQUAL(remote.staged, 6 + 3 * 2, "images, and each batch's classes");
  EXPECT_EQUAL(in_flight(), 0);
}

TEST("device: results that are under way do not wait for others' delays, nor do delays get shorter") {
  Queue queue;
  Remote remote;
  remote.allow(100);
  Worker worker(at::kCPU, remote.parts());
  const auto plan = plan_of(2);
  const auto delayed = [](Request& request) { request.max_delay = milliseconds(1500); };
  Flag go;
  worker.post([&] { go.wait(); }, ignore);
  const auto started = std::chrono::steady_clock::now();
  const auto at_once = queue.submit(worker, plan_of(3));
  const auto first = queue.submit(worker, plan, delayed);
  go.raise();
  at_once->wait();
  EXPECT(std::chrono::steady_clock::now() - started < milliseconds(1200), "it waited for another plan's delay");
  const auto second = queue.submit(worker, plan, delayed);
  EXPECT_EQUAL(first->wait().batch, 2, "the delay was cut short");
  second->wait();
  remote.expect("+-.+-.");
}

TEST("device: a full batch behind one under way is due although it may wait; so is one before a task") {
  Queue queue;
  Remote remote;
  Worker worker(at::kCPU, remote.parts());
  const auto delayed = [](Request& request) {
    request.max_delay = milliseconds(20000);
    request.max_batch = 2;
  };
  Flag go;
  worker.post([&] { go.wait(); }, ignore);
  const auto plan = plan_of(3);
  std::vector<std::shared_ptr<Outcome>> outcomes{queue.submit(worker, plan_of(2))};
  for (int i = 0; i < 3; ++i) outcomes.push_back(queue.submit(worker, plan, delayed));
  std::string seen;
  worker.post([&] { seen = remote.order; }, ignore);
  go.raise();
  remote.expect("++-");
  remote.allow(3);
  for (const auto& outcome : outcomes) outcome->wait();
  EXPECT_EQUAL(outcomes[1]->batch, 2);
  EXPECT_EQUAL(outcomes[3]->batch, 1);
  Flag done;
  worker.post([&] { done.raise(); }, ignore);
  done.wait();
  EXPECT_EQUAL(seen, std::string("++-.+-.-."), "a task ran before results that were under way");
}

TEST("device: what is cancelled or closed while it is under way is settled once, in its turn") {
  Queue queue;
  Remote remote;
  const auto cancellation = std::make_shared<Cancellation>();
  std::vector<std::shared_ptr<Outcome>> outcomes;
  {
    Worker worker(at::kCPU, remote.parts());
    Flag go;
    worker.post([&] { go.wait(); }, ignore);
    const auto plan = plan_of(2), other = plan_of(3);
    outcomes.push_back(queue.submit(worker, plan, [&](Request& request) { request.cancellation = cancellation; }));
    outcomes.push_back(queue.submit(worker, plan));
    outcomes.push_back(queue.submit(worker, other));
    outcomes.push_back(queue.submit(worker, plan_of(4)));
    go.raise();
    remote.expect("++-");
    // The caller's memory is not read any more, however far the device is.
    cancellation->cancel_and_wait();
    std::thread stopping([&] { worker.stop(); });
    std::this_thread::sleep_for(milliseconds(30));
    remote.allow(10);
    stopping.join();
  }
  EXPECT_EQUAL(outcomes[0]->code, std::string("ABORTED"));
  EXPECT_EQUAL(outcomes[1]->code, std::string());
  EXPECT(outcomes[1]->map.equal(at::full({3, 8, 8}, 2.0)));
  EXPECT_EQUAL(outcomes[2]->code, std::string());
  EXPECT_EQUAL(outcomes[3]->code, std::string("MODEL_CLOSED"));
  for (const auto& outcome : outcomes) EXPECT_EQUAL(outcome->settled, 1);
  EXPECT_EQUAL(in_flight(), 0);
}

TEST("device: results that never arrive fail their batch, and the thread goes on") {
  Queue queue;
  WorkerParts parts;
  class Broken : public Transfer {
   public:
    bool is_asynchronous() const override { return true; }
    at::Tensor stage(const at::Tensor& host) override { return host.clone(); }
    at::Tensor send(const at::Tensor& staged) override { return staged; }
    at::Tensor beside(const std::function<at::Tensor()>& work) override { return work(); }
    Arrival fetch(std::vector<at::Tensor> tensors) override {
      return {std::move(tensors), [] { TORCH_CHECK(false, "CUDA error: an illegal memory access was encountered"); }};
    }
  };
  parts.transfer = [](at::Device) { return std::make_unique<Broken>(); };
  Worker worker(at::kCPU, parts);
  for (int i = 0; i < 3; ++i) EXPECT_EQUAL(queue.submit(worker, plan_of(2))->wait().code, std::string("INTERNAL"));
  EXPECT_EQUAL(in_flight(), 0);
}

TEST("memory: a batch that does not fit is halved, carried on with, and not gathered as large again") {
  Queue queue;
  Small small;
  small.fits = 4;
  Worker worker(at::kCPU, small.parts());
  const auto plan = plan_of(2);
  const auto halved = counters().halved_batches.load(), batches = counters().batches.load();
  Flag go;
  const auto first = submit_numbered(queue, worker, plan, 7, go);
  go.raise();
  expect_numbered(first, 2);
  EXPECT(small.taken() == std::vector<int64_t>({7, 3, 4}));
  EXPECT_EQUAL(counters().halved_batches - halved, 1);
  EXPECT_EQUAL(counters().batches - batches, 2);
  Flag again;
  const auto second = submit_numbered(queue, worker, plan, 7, again);
  again.raise();
  expect_numbered(second, 2);
  EXPECT(small.taken() == std::vector<int64_t>({3, 3, 1}));
  EXPECT_EQUAL(counters().halved_batches - halved, 1);
  // Another plan has not failed.
  small.fits = 8;
  Flag other;
  const auto third = submit_numbered(queue, worker, plan_of(3), 7, other);
  other.raise();
  expect_numbered(third, 3);
  EXPECT(small.taken() == std::vector<int64_t>({7}));
  EXPECT_EQUAL(in_flight(), 0);
}

TEST("memory: halves are halved again, and an image that does not fit alone fails with OUT_OF_MEMORY") {
  Queue queue;
  Small small;
  Worker worker(at::kCPU, small.parts());
  Flag go;
  const auto outcomes = submit_numbered(queue, worker, plan_of(2), 4, go);
  go.raise();
  expect_numbered(outcomes, 2);
  EXPECT(small.taken() == std::vector<int64_t>({4, 2, 1, 1, 2, 1, 1}));
  small.fits = 0;
  for (const std::string message :
       {"CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "DefaultCPUAllocator: can't allocate memory"}) {
    small.message = message;
    EXPECT_EQUAL(queue.submit(worker, plan_of(2))->wait().code, std::string("OUT_OF_MEMORY"), message);
  }
  small.message = "CUDA error: an illegal memory access was encountered";
  small.taken();
  Flag other;
  const auto broken = submit_numbered(queue, worker, plan_of(2), 4, other);
  other.raise();
  for (const auto& outcome : broken) EXPECT_EQUAL(outcome->wait().code, std::string("INTERNAL"));
  EXPECT(small.taken() == std::vector<int64_t>({4}), "another failure was taken for a lack of memory");
  EXPECT_EQUAL(in_flight(), 0);
}

TEST("memory: what is aborted or unsound is settled once, however often its batch is halved") {
  Queue queue;
  Small small;
  Worker worker(at::kCPU, small.parts());
  const auto plan = plan_of(2);
  Flag go;
  worker.post([&] { go.wait(); }, ignore);
  const auto good = queue.submit(worker, plan);
  const auto poisoned = queue.submit(worker, plan, [](Request& request) { request.tensor = at::full({3, 8, 8}, NAN); });
  const auto aborted = queue.submit(worker, plan, [](Request& request) { request.cancellation->cancel(); });
  const auto unknown = queue.submit(worker, plan, [](Request& request) {
    request.targets = {99};
    request.against = {kNoClass};
  });
  const auto also_good = queue.submit(worker, plan);
  go.raise();
  EXPECT_EQUAL(good->wait().code, std::string());
  EXPECT_EQUAL(also_good->wait().code, std::string());
  EXPECT_EQUAL(poisoned->wait().code, std::string("INVALID_INPUT"));
  EXPECT_EQUAL(aborted->wait().code, std::string("ABORTED"));
  EXPECT_EQUAL(unknown->wait().code, std::string("UNKNOWN_TARGET"));
  for (const auto& outcome : {good, poisoned, aborted, unknown, also_good}) EXPECT_EQUAL(outcome->settled, 1);
  EXPECT_EQUAL(in_flight(), 0);
}

TEST("memory: results under way are delivered before a batch behind them is halved") {
  Queue queue;
  Remote remote;
  remote.allow(100);
  Small small;
  small.fits = 2;
  WorkerParts parts = remote.parts();
  parts.run = small.parts().run;
  Worker worker(at::kCPU, parts);
  Flag go;
  const auto first = submit_numbered(queue, worker, plan_of(2), 2, go, 2);
  const auto plan = plan_of(3);
  std::vector<std::shared_ptr<Outcome>> second;
  for (int i = 0; i < 3; ++i) {
    second.push_back(queue.submit(worker, plan, [&](Request& request) { request.tensor = at::full({3, 8, 8}, i); }));
  }
  go.raise();
  expect_numbered(first, 2);
  expect_numbered(second, 3);
  remote.expect("+-.++-.-.");
  EXPECT(small.taken() == std::vector<int64_t>({2, 3, 1, 2}));
}

}  // namespace sightline::test
