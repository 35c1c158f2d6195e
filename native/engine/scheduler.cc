#include "engine/scheduler.h"

#include <ATen/Parallel.h>
#include <c10/core/AutogradState.h>
#include <c10/core/DeviceGuard.h>

#ifdef __linux__
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace sightline {

namespace {

bool gathers_with(const Request& first, const Request& other) {
  return first.model == other.model && first.plan == other.plan && first.height == other.height &&
         first.width == other.width && first.targets.size() == other.targets.size() && first.given.empty() && other.given.empty();
}

void fail(Request& request, const EngineError& error) {
  counters().failed += 1;
  request.failed(error);
}

std::atomic<bool> shut_down{false};
std::atomic<int> wanted_threads{0};

std::mutex& workers_mutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}

// Leaked on purpose: destructors of statics run in an order that LibTorch's own do not survive.
std::map<std::string, std::shared_ptr<Worker>>& workers() {
  static auto* map = new std::map<std::string, std::shared_ptr<Worker>>;
  return *map;
}

}  // namespace

namespace {

// LibTorch's warnings (such as that of a quantiser it calls deprecated) are meant for who wrote the archive; in the
// middle of a backend's log, or of a command's one-line answer, they help nobody. SIGHTLINE_DEBUG shows them.
class QuietWarnings : public c10::WarningHandler {
 public:
  void process(const c10::Warning& warning) override {
    if (std::getenv("SIGHTLINE_DEBUG") != nullptr) c10::WarningHandler::process(warning);
  }
};

QuietWarnings& quiet_warnings() {
  static auto* handler = new QuietWarnings;
  return *handler;
}

// Below the JavaScript thread, so that a timer or a request that comes due gets a core at once although LibTorch computes
// on all of them. LibTorch's own threads are started from this one and inherit it. Linux counts niceness per thread.
void give_way() {
#ifdef __linux__
  constexpr int kNiceness = 5;
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kNiceness);
#endif
}

}  // namespace

Counters& counters() {
  static auto* instance = new Counters;
  return *instance;
}

Worker::Worker(at::Device device) : device_(device), thread_([this] { loop(); }) {}

Worker::~Worker() { stop(); }

void Worker::submit(std::vector<std::unique_ptr<Request>> requests, size_t limit) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) throw EngineError("MODEL_CLOSED", "The engine is shutting down.");
    if (waiting_requests_ + requests.size() > limit) {
      throw EngineError("QUEUE_FULL", std::to_string(waiting_requests_) + " images wait already, of " + std::to_string(limit) +
                                          " that may; send fewer at once, or raise maxQueue.");
    }
    waiting_requests_ += requests.size();
    counters().queued += static_cast<int64_t>(requests.size());
    for (auto& request : requests) queue_.push_back({std::move(request), nullptr, nullptr});
  }
  wake_.notify_all();
}

void Worker::post(std::function<void()> task, std::function<void(EngineError)> failed) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) throw EngineError("MODEL_CLOSED", "The engine is shutting down.");
    queue_.push_back({nullptr, std::move(task), std::move(failed)});
  }
  wake_.notify_all();
}

void Worker::stop() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable() && thread_.get_id() != std::this_thread::get_id()) thread_.join();
}

void Worker::loop() {
  // Thread-local all: the guard for the device, backward passes on this very thread rather than on one of autograd's
  // own, which would outlive us at exit.
  const c10::OptionalDeviceGuard guard(device_.is_cuda() ? std::optional<at::Device>(device_) : std::nullopt);
  c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
  c10::WarningUtils::set_warning_handler(&quiet_warnings());
  give_way();
  at::init_num_threads();
  apply_threads();

  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    if (stopping_) break;
    if (!queue_.front().request) {
      auto item = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      apply_threads();
      try {
        item.task();
      } catch (...) {
        item.failed(translate_current_exception("INTERNAL", "The engine failed"));
      }
      // Closures hold models: they end here, off the lock.
      item = {};
      lock.lock();
      continue;
    }
    auto batch = gather(lock);
    lock.unlock();
    apply_threads();
    run_batch(std::move(batch));
    lock.lock();
  }
  auto left = std::move(queue_);
  queue_.clear();
  waiting_requests_ = 0;
  lock.unlock();
  const EngineError closed("MODEL_CLOSED", "The engine was shut down before the request ran.");
  for (auto& item : left) {
    if (item.request) {
      counters().queued -= 1;
      fail(*item.request, closed);
    } else {
      item.failed(closed);
    }
  }
}

// OpenMP counts its threads per calling thread, so only this one can change its own.
void Worker::apply_threads() {
  const int wanted = wanted_threads;
  if (wanted == threads_) return;
  at::set_num_threads(wanted);
  threads_ = wanted;
}

// The first request, and every other waiting one that can share its batch. A task in the queue is a fence: what was
// asked for after a close must not run before it.
std::vector<std::unique_ptr<Request>> Worker::gather(std::unique_lock<std::mutex>& lock) {
  std::vector<std::unique_ptr<Request>> batch;
  const auto take = [&](std::deque<Item>::iterator it) {
    batch.push_back(std::move(it->request));
    waiting_requests_ -= 1;
    counters().queued -= 1;
    counters().running += 1;
    return queue_.erase(it);
  };
  take(queue_.begin());
  const auto limit = static_cast<size_t>(std::max<int64_t>(1, batch[0]->max_batch));
  const auto deadline = std::chrono::steady_clock::now() + batch[0]->max_delay;
  while (true) {
    bool fenced = false;
    for (auto it = queue_.begin(); it != queue_.end() && batch.size() < limit;) {
      if (!it->request) {
        fenced = true;
        break;
      }
      it = gathers_with(*batch[0], *it->request) ? take(it) : std::next(it);
    }
    if (batch.size() >= limit || fenced || stopping_) break;
    if (wake_.wait_until(lock, deadline) == std::cv_status::timeout) break;
  }
  return batch;
}

void Worker::run_batch(std::vector<std::unique_ptr<Request>> batch) {
  // Before a request is told: whoever reads the counters then must not find it running.
  const auto settle = [](Request& request, const EngineError& error) {
    counters().running -= 1;
    fail(request, error);
  };
  const auto fail_all = [&](const std::vector<std::unique_ptr<Request>>& requests) {
    const auto error = translate_current_exception("INTERNAL", "The engine failed");
    for (const auto& request : requests) settle(*request, error);
  };
  Network* found = nullptr;
  Model& model = *batch[0]->model;
  try {
    found = &model.network(batch[0]->height, batch[0]->width);
  } catch (...) {
    fail_all(batch);
    return;
  }
  Network& network = *found;
  if (!network.info().can_batch && batch.size() > 1) {
    for (auto& request : batch) {
      std::vector<std::unique_ptr<Request>> alone;
      alone.push_back(std::move(request));
      run_batch(std::move(alone));
    }
    return;
  }

  // One image's fault must not fail its neighbours: what can be wrong with an image is found before the batch is made.
  std::vector<std::unique_ptr<Request>> sound;
  std::vector<at::Tensor> images;
  std::vector<int64_t> flat, flat_against;
  for (auto& request : batch) {
    try {
      for (const auto* classes : {&request->targets, &request->against}) {
        for (const int64_t target : *classes) {
          if (target == kNoClass || (target < network.info().classes && -target <= network.info().classes)) continue;
          throw EngineError("UNKNOWN_TARGET", "There is no class " + std::to_string(target >= 0 ? target : -target) +
                                                  "; the model has " + std::to_string(network.info().classes) + ".");
        }
      }
      at::NoGradGuard no_gradients;
      auto image = request->cancellation->read([&] {
        return request->preprocessing ? preprocess(request->pixels, *request->preprocessing, device_)
                                      : request->tensor.to(device_, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
      });
      if (!request->preprocessing && !at::isfinite(image).all().item<bool>()) {
        throw EngineError("INVALID_INPUT", request->label + " holds NaN or infinite values; preprocess it again.");
      }
      images.push_back(image);
      flat.insert(flat.end(), request->targets.begin(), request->targets.end());
      flat_against.insert(flat_against.end(), request->against.begin(), request->against.end());
      sound.push_back(std::move(request));
    } catch (...) {
      settle(*request, translate_current_exception("INTERNAL", request->label));
    }
  }
  if (sound.empty()) return;

  const auto count = static_cast<int64_t>(sound.size());
  const auto cancelled = [&] {
    if (stopping_) return true;
    for (const auto& request : sound) {
      if (!request->cancellation->is_cancelled()) return false;
    }
    return true;
  };
  BatchResult result;
  try {
    const auto per_image = static_cast<int64_t>(sound[0]->targets.size());
    const Asked asked{at::tensor(flat, at::kLong).view({count, per_image}), at::tensor(flat_against, at::kLong).view({count, per_image}),
                      sound[0]->given};
    result = run_plan(*sound[0]->plan, network, model.self(), at::stack(images).to(model.dtype()), asked, cancelled);
  } catch (...) {
    fail_all(sound);
    return;
  }
  counters().batches += 1;
  for (int64_t i = 0; i < count; ++i) {
    Request& request = *sound[i];
    if (request.cancellation->is_cancelled()) {
      settle(request, EngineError("ABORTED", "The request was aborted."));
      continue;
    }
    Request::Result single{{}, {}, {}, result.operators, result.chunk, count};
    // Each image's own memory, copied here rather than on the JS thread: a part of the batch's would keep all of it alive.
    for (const auto& output : result.outputs) {
      const auto values = output.values.select(0, i);
      single.outputs.push_back({output.name, count > 1 ? values.clone(at::MemoryFormat::Contiguous) : values});
    }
    if (result.targets.defined()) {
      const auto row = result.targets.select(0, i).contiguous();
      single.targets.assign(row.data_ptr<int64_t>(), row.data_ptr<int64_t>() + row.numel());
      const auto subtracted = result.against.select(0, i).contiguous();
      single.against.assign(subtracted.data_ptr<int64_t>(), subtracted.data_ptr<int64_t>() + subtracted.numel());
    }
    counters().running -= 1;
    counters().completed += 1;
    request.done(std::move(single));
  }
}

void set_engine_threads(int count) { wanted_threads = count; }

int engine_threads() { return wanted_threads; }

bool is_shut_down() { return shut_down; }

std::shared_ptr<Worker> worker_for(at::Device device) {
  const std::lock_guard<std::mutex> lock(workers_mutex());
  if (shut_down) throw EngineError("MODEL_CLOSED", "The process is ending; nothing new can be started.");
  auto& worker = workers()[device.str()];
  if (!worker) worker = std::make_shared<Worker>(device);
  return worker;
}

void stop_workers(bool for_good) {
  if (for_good) shut_down = true;
  std::map<std::string, std::shared_ptr<Worker>> stopping;
  {
    const std::lock_guard<std::mutex> lock(workers_mutex());
    stopping.swap(workers());
  }
  for (auto& [name, worker] : stopping) worker->stop();
}

}  // namespace sightline
