// The worker: order, batches, fences, limits, cancellation, its end. Also what the thread sanitizer looks at.
#include <ATen/Parallel.h>
#include <sys/mman.h>

#include <cstring>
#include <random>

#include "queue.h"

namespace sightline::test {

TEST("queue: what waits is gathered by plan, up to the limit of a batch") {
  Queue queue;
  Worker worker(at::kCPU);
  Flag go;
  worker.post([&] { go.wait(); }, ignore);
  const auto first = plan_of(2), second = plan_of(3);
  std::vector<std::shared_ptr<Outcome>> of_first, of_second;
  for (int i = 0; i < 5; ++i) {
    of_first.push_back(queue.submit(worker, first));
    of_second.push_back(queue.submit(worker, second, [](Request& request) { request.max_batch = 3; }));
  }
  const auto batches = counters().batches.load();
  go.raise();
  for (const auto& outcome : of_first) EXPECT_EQUAL(outcome->wait().batch, 5);
  std::vector<int64_t> sizes;
  for (const auto& outcome : of_second) sizes.push_back(outcome->wait().batch);
  EXPECT(sizes == std::vector<int64_t>({3, 3, 3, 2, 2}));
  EXPECT_EQUAL(counters().batches - batches, 3);
  for (const auto& outcome : of_first) EXPECT(outcome->map.equal(at::full({3, 8, 8}, 2.0)));
  for (const auto& outcome : of_second) EXPECT(outcome->map.equal(at::full({3, 8, 8}, 3.0)));
  EXPECT_EQUAL(in_flight(), 0);
}

TEST("queue: a task is a fence that no request passes") {
  Queue queue;
  Worker worker(at::kCPU);
  Flag go;
  worker.post([&] { go.wait(); }, ignore);
  const auto plan = plan_of(2);
  std::mutex mutex;
  std::string order;
  const auto note = [&](char what) {
    const std::lock_guard<std::mutex> lock(mutex);
    order += what;
  };
  std::vector<std::shared_ptr<Outcome>> outcomes;
  const auto submit = [&](char what) {
    outcomes.push_back(queue.submit(worker, plan, [&, what](Request& request) {
      auto done = std::move(request.done);
      request.done = [&note, what, done](Request::Result result) {
        note(what);
        done(std::move(result));
      };
    }));
  };
  submit('a');
  submit('a');
  worker.post([&] { note('|'); }, ignore);
  submit('b');
  worker.post([&] { note('|'); }, ignore);
  submit('c');
  submit('c');
  go.raise();
  for (const auto& outcome : outcomes) outcome->wait();
  EXPECT_EQUAL(order, std::string("aa|b|cc"));
  EXPECT_EQUAL(outcomes[0]->batch, 2);
  EXPECT_EQUAL(outcomes[2]->batch, 1);
}

// A loop of so many rounds of one sample each, whose map is `count` times the image.
std::shared_ptr<Plan> rounds_of(int64_t count) {
  Recorder record;
  const int image = record.image();
  record.begin();
  const int inner = record.parameter();
  record.block().parameters.push_back(record.value());
  const auto body = record.end({record.step("relu", {inner})});
  record.output("map", record.loop("accumulate", {image}, body, static_cast<double>(count), {1}));
  return record.plan(-1, 1);
}

// In which order requests were settled.
class Order {
 public:
  std::function<void(Request&)> note(const std::string& name, std::function<void(Request&)> change = {}) {
    return [=, this](Request& request) {
      request.done = [this, name, done = std::move(request.done)](Request::Result result) {
        add(name);
        done(std::move(result));
      };
      request.failed = [this, name, failed = std::move(request.failed)](EngineError error) {
        add(name);
        failed(std::move(error));
      };
      if (change) change(request);
    };
  }
  std::string names() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return names_;
  }

 private:
  void add(const std::string& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    names_ += (names_.empty() ? "" : " ") + name;
  }

  std::mutex mutex_;
  std::string names_;
};

TEST("queue: what asks for much less passes a long job between its chunks, and nothing else does") {
  Queue queue;
  Worker worker(at::kCPU);
  Order order;
  Flag go;
  worker.post([&] { go.wait(); }, ignore);
  const auto elsewhere = [](Request& request) {
    request.height = request.width = 16;
    request.tensor = at::ones({3, 16, 16});
  };
  const auto longest = queue.submit(worker, rounds_of(64), order.note("64"));
  const auto near = queue.submit(worker, rounds_of(9), order.note("9"));
  const auto unknown = queue.submit(worker, plan_of(3), order.note("other-size", elsewhere));
  const auto shorter = queue.submit(worker, rounds_of(8), order.note("8"));
  const auto shortest = queue.submit(worker, plan_of(2), order.note("0"));
  worker.post([] {}, ignore);
  const auto fenced = queue.submit(worker, plan_of(4), order.note("fenced"));
  go.raise();
  for (const auto& outcome : {longest, near, unknown, shorter, shortest, fenced}) outcome->wait();
  // "8" comes first, and "0" passes it as well as the longest.
  EXPECT_EQUAL(order.names(), std::string("0 8 64 9 other-size fenced"));
  EXPECT(longest->map.equal(at::full({3, 8, 8}, 64.0)));
  EXPECT(shorter->map.equal(at::full({3, 8, 8}, 8.0)));
  EXPECT(shortest->map.equal(at::full({3, 8, 8}, 2.0)));
  EXPECT_EQUAL(in_flight(), 0);
}

TEST("queue: a long job ends although there is always somebody who may pass") {
  Queue queue;
  Worker worker(at::kCPU);
  std::atomic<bool> is_done{false};
  std::atomic<int> passed{0};
  std::mutex mutex;
  std::vector<std::shared_ptr<Outcome>> outcomes;
  const auto plan = plan_of(2);
  const std::function<void()> another = [&] {
    const auto outcome = queue.submit(worker, plan, [&](Request& request) {
      request.done = [&, done = std::move(request.done)](Request::Result result) {
        done(std::move(result));
        ++passed;
        if (!is_done) another();
      };
    });
    const std::lock_guard<std::mutex> lock(mutex);
    outcomes.push_back(outcome);
  };
  const auto job = queue.submit(worker, rounds_of(2000));
  another();
  job->wait();
  is_done = true;
  EXPECT(passed > 0);
  worker.stop();
  EXPECT(job->map.equal(at::full({3, 8, 8}, 2000.0)));
  EXPECT_EQUAL(in_flight(), 0);
}

TEST("queue: who passes fails alone, and an aborted job ends whoever passes") {
  Queue queue;
  Worker worker(at::kCPU);
  Flag go;
  worker.post([&] { go.wait(); }, ignore);
  const auto cancellation = std::make_shared<Cancellation>();
  const auto job = queue.submit(worker, endless(), [&](Request& request) { request.cancellation = cancellation; });
  const auto faulty = queue.submit(worker, plan_of(2), [](Request& request) { request.tensor[0][0][0] = NAN; });
  const auto aborted = queue.submit(worker, plan_of(3), [](Request& request) { request.cancellation->cancel(); });
  const auto good = queue.submit(worker, plan_of(4), [&](Request& request) {
    request.done = [&, done = std::move(request.done)](Request::Result result) {
      done(std::move(result));
      cancellation->cancel();
    };
  });
  go.raise();
  EXPECT_EQUAL(faulty->wait().code, std::string("INVALID_INPUT"));
  EXPECT_EQUAL(aborted->wait().code, std::string("ABORTED"));
  EXPECT(good->wait().map.equal(at::full({3, 8, 8}, 4.0)));
  EXPECT_EQUAL(job->wait().code, std::string("ABORTED"));
  EXPECT_EQUAL(in_flight(), 0);
}

TEST("queue: clients take turns, and each one's requests stay in order") {
  Queue queue;
  Worker worker(at::kCPU);
  Order order;
  Flag go;
  worker.post([&] { go.wait(); }, ignore);
  std::vector<std::shared_ptr<Outcome>> outcomes;
  double factor = 1;
  for (const std::string name : {"a1", "a2", "a3", "b1", "b2", "c1"}) {
    // Plans of their own: no two share a batch.
    outcomes.push_back(queue.submit(worker, plan_of(++factor),
                                    order.note(name, [&](Request& request) { request.client = name.substr(0, 1); })));
  }
  go.raise();
  for (const auto& outcome : outcomes) outcome->wait();
  EXPECT_EQUAL(order.names(), std::string("a1 b1 c1 a2 b2 a3"));
  // Who was served last waits for who was not, and a batch of both counts for the one who began it.
  EXPECT_EQUAL(queue.submit(worker, plan_of(2))->wait().batch, 1);
}

TEST("queue: waits max_delay for more, but not when the batch is full or a task comes") {
  Queue queue;
  Worker worker(at::kCPU);
  const auto plan = plan_of(2);
  const auto delayed = [](int64_t limit, milliseconds delay) {
    return [=](Request& request) {
      request.max_batch = limit;
      request.max_delay = delay;
    };
  };
  const auto first = queue.submit(worker, plan, delayed(8, milliseconds(500)));
  std::this_thread::sleep_for(milliseconds(30));
  const auto second = queue.submit(worker, plan, delayed(8, milliseconds(500)));
  EXPECT_EQUAL(first->wait().batch, 2);
  second->wait();

  const auto started = std::chrono::steady_clock::now();
  queue.submit(worker, plan, delayed(1, milliseconds(20000)))->wait();
  const auto waiting = queue.submit(worker, plan, delayed(8, milliseconds(20000)));
  std::this_thread::sleep_for(milliseconds(10));
  worker.post([] {}, ignore);
  waiting->wait();
  EXPECT(std::chrono::steady_clock::now() - started < std::chrono::seconds(10),
         "it waited in spite of a full batch or a fence");
}

TEST("queue: more than the limit is refused whole, at once, and the rest goes on") {
  Queue queue;
  Worker worker(at::kCPU);
  Flag go;
  worker.post([&] { go.wait(); }, ignore);
  const auto plan = plan_of(2);
  std::vector<std::shared_ptr<Outcome>> outcomes;
  const auto submit = [&](int count, size_t limit) {
    std::vector<std::unique_ptr<Request>> requests;
    std::vector<std::shared_ptr<Outcome>> made;
    for (int i = 0; i < count; ++i) {
      made.push_back(std::make_shared<Outcome>());
      requests.push_back(queue.request(plan, made.back()));
    }
    worker.submit(std::move(requests), limit);
    outcomes.insert(outcomes.end(), made.begin(), made.end());
  };
  submit(3, 5);
  const auto error = thrown_by([&] { submit(3, 5); });
  EXPECT_EQUAL(error.code(), std::string("QUEUE_FULL"));
  EXPECT(error.message().find("3 images wait already, of 5 that may") == 0, error.message());
  EXPECT_EQUAL(counters().queued.load(), 3);
  submit(2, 5);
  go.raise();
  for (const auto& outcome : outcomes) EXPECT_EQUAL(outcome->wait().code, std::string());
  EXPECT_EQUAL(outcomes.size(), size_t{5});
  submit(5, 5);
  for (const auto& outcome : outcomes) outcome->wait();
  EXPECT_EQUAL(in_flight(), 0);
}

TEST("queue: a task that throws tells its own caller, and the thread goes on") {
  Queue queue;
  Worker worker(at::kCPU);
  std::string told;
  worker.post([] { throw std::runtime_error("no luck"); },
              [&](EngineError error) { told = error.code() + " " + error.message(); });
  queue.submit(worker, plan_of(2))->wait();
  EXPECT_EQUAL(told, std::string("INTERNAL The engine failed: no luck"));
}

TEST("queue: one request's fault is its own") {
  Queue queue;
  Worker worker(at::kCPU);
  Flag go;
  worker.post([&] { go.wait(); }, ignore);
  const auto plan = plan_of(2);
  const auto good = queue.submit(worker, plan);
  const auto poisoned = queue.submit(worker, plan, [](Request& request) { request.tensor = at::full({3, 8, 8}, NAN); });
  const auto aborted = queue.submit(worker, plan, [](Request& request) { request.cancellation->cancel(); });
  const auto also_good = queue.submit(worker, plan);
  go.raise();
  EXPECT_EQUAL(good->wait().code, std::string());
  EXPECT_EQUAL(good->batch, 2);
  EXPECT_EQUAL(poisoned->wait().code, std::string("INVALID_INPUT"));
  EXPECT_EQUAL(aborted->wait().code, std::string("ABORTED"));
  EXPECT_EQUAL(also_good->wait().code, std::string());
  EXPECT_EQUAL(in_flight(), 0);
}

TEST("queue: a batch runs on while one of its requests is wanted, and stops when none is") {
  Queue queue;
  Worker worker(at::kCPU);
  const auto plan = endless();
  const auto cancellation = std::make_shared<Cancellation>();
  const auto other = std::make_shared<Cancellation>();
  Flag go;
  worker.post([&] { go.wait(); }, ignore);
  const auto first = queue.submit(worker, plan, [&](Request& request) { request.cancellation = cancellation; });
  const auto second = queue.submit(worker, plan, [&](Request& request) { request.cancellation = other; });
  go.raise();
  while (counters().running != 2) std::this_thread::sleep_for(milliseconds(1));
  std::this_thread::sleep_for(milliseconds(30));
  cancellation->cancel();
  std::this_thread::sleep_for(milliseconds(50));
  {
    const std::lock_guard<std::mutex> lock(second->mutex);
    EXPECT_EQUAL(second->settled, 0, "the batch ended though one of it was still wanted");
  }
  other->cancel();
  EXPECT_EQUAL(first->wait().code, std::string("ABORTED"));
  EXPECT_EQUAL(second->wait().code, std::string("ABORTED"));
  EXPECT_EQUAL(in_flight(), 0);
}

TEST("queue: nobody's memory is read once cancel_and_wait has returned") {
  Queue queue;
  Worker worker(at::kCPU);
  const auto plan = plan_of(2);
  constexpr int64_t kSide = 1200;
  constexpr size_t kBytes = kSide * kSide * 3;
  for (int i = 0; i < 60; ++i) {
    // Unmapped right after, so that whoever still reads crashes: LibTorch's kernels are invisible to the sanitizers.
    void* pixels = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(pixels != MAP_FAILED);
    std::memset(pixels, 100, kBytes);
    const auto cancellation = std::make_shared<Cancellation>();
    const auto outcome = queue.submit(worker, plan, [&](Request& request) {
      request.pixels = at::from_blob(pixels, {kSide, kSide, 3}, at::kByte);
      request.preprocessing = Preprocessing{8, 8, 0, 0, 8, 8, false, {0, 0, 0}, {1, 1, 1}};
      request.cancellation = cancellation;
    });
    std::this_thread::sleep_for(std::chrono::microseconds(i * 50));
    cancellation->cancel_and_wait();
    munmap(pixels, kBytes);
    outcome->wait();
  }
}

TEST("queue: stop aborts what runs, fails what waits, refuses what comes") {
  Queue queue;
  Worker worker(at::kCPU);
  const auto running = queue.submit(worker, endless());
  while (counters().running != 1) std::this_thread::sleep_for(milliseconds(1));
  // A fence first: the requests would pass what runs.
  std::string told;
  worker.post([&] { told = "ran"; }, [&](EngineError error) { told = error.code(); });
  std::vector<std::shared_ptr<Outcome>> waiting;
  for (int i = 0; i < 4; ++i) waiting.push_back(queue.submit(worker, plan_of(2)));
  worker.stop();
  EXPECT_EQUAL(running->code, std::string("ABORTED"));
  for (const auto& outcome : waiting) EXPECT_EQUAL(outcome->code, std::string("MODEL_CLOSED"));
  EXPECT_EQUAL(told, std::string("MODEL_CLOSED"));
  EXPECT_EQUAL(thrown_by([&] { queue.submit(worker, plan_of(2)); }).code(), std::string("MODEL_CLOSED"));
  EXPECT_EQUAL(thrown_by([&] { worker.post([] {}, ignore); }).code(), std::string("MODEL_CLOSED"));
  worker.stop();
  EXPECT_EQUAL(in_flight(), 0);
}

TEST("queue: stop does not wait out a delay") {
  Queue queue;
  Worker worker(at::kCPU);
  const auto outcome =
      queue.submit(worker, plan_of(2), [](Request& request) { request.max_delay = milliseconds(30000); });
  std::this_thread::sleep_for(milliseconds(20));
  const auto started = std::chrono::steady_clock::now();
  worker.stop();
  EXPECT(std::chrono::steady_clock::now() - started < std::chrono::seconds(5));
  EXPECT_EQUAL(outcome->settled, 1);
}

TEST("queue: a device's worker is one, until it is stopped") {
  const auto first = worker_for(at::kCPU);
  EXPECT(first == worker_for(at::kCPU));
  stop_workers(/*for_good=*/false);
  const auto second = worker_for(at::kCPU);
  EXPECT(first != second);
  Queue queue;
  EXPECT_EQUAL(queue.submit(*second, plan_of(2))->wait().code, std::string());
  stop_workers(/*for_good=*/false);
}

TEST("queue: threads set later reach a worker that runs already") {
  Worker worker(at::kCPU);
  const auto threads = [&] {
    int found = 0;
    Flag done;
    worker.post(
        [&] {
          found = at::get_num_threads();
          done.raise();
        },
        ignore);
    done.wait();
    return found;
  };
  for (const int wanted : {1, 3, 2, 1}) {
    set_engine_threads(wanted);
    EXPECT_EQUAL(threads(), wanted);
    EXPECT_EQUAL(engine_threads(), wanted);
  }
  Worker later(at::kCPU);
  int found = 0;
  Flag done;
  later.post(
      [&] {
        found = at::get_num_threads();
        done.raise();
      },
      ignore);
  done.wait();
  EXPECT_EQUAL(found, 1);
}

TEST("queue: many threads submit, cancel and post; each request is settled exactly once") {
  Queue queue;
  const auto before = counters().completed + counters().failed;
  std::atomic<int> submitted{0};
  std::vector<std::shared_ptr<Outcome>> outcomes;
  {
    auto worker = std::make_unique<Worker>(at::kCPU);
    const std::vector<std::shared_ptr<Plan>> plans{plan_of(2), plan_of(3), plan_of(4)};
    std::mutex mutex;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937 random(t);
        for (int i = 0; i < 150; ++i) {
          const auto cancellation = std::make_shared<Cancellation>();
          const auto change = [&](Request& request) {
            request.cancellation = cancellation;
            request.max_batch = 1 + static_cast<int64_t>(random() % 6);
            request.max_delay = std::chrono::microseconds(random() % 200);
          };
          auto outcome = queue.submit(*worker, plans[random() % 3], change);
          ++submitted;
          if (random() % 4 == 0) cancellation->cancel();
          if (random() % 8 == 0) cancellation->cancel_and_wait();
          if (random() % 10 == 0) worker->post([] {}, ignore);
          if (random() % 16 == 0) outcome->wait();
          const std::lock_guard<std::mutex> lock(mutex);
          outcomes.push_back(std::move(outcome));
        }
      });
    }
    for (auto& thread : threads) thread.join();
    // Stopped with a part of them still waiting.
    worker->stop();
  }
  EXPECT_EQUAL(outcomes.size(), static_cast<size_t>(submitted.load()));
  for (const auto& outcome : outcomes) EXPECT_EQUAL(outcome->settled, 1);
  EXPECT_EQUAL(counters().completed + counters().failed - before, submitted.load());
  EXPECT_EQUAL(in_flight(), 0);
}

}  // namespace sightline::test
