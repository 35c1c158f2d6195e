#include "engine/device/worker.h"

#include <ATen/Parallel.h>
#include <c10/core/AutogradState.h>
#include <c10/core/DeviceGuard.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdlib>

#include "engine/device/workers.h"

#ifdef __linux__
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace sightline {

namespace {

bool gathers_with(const Request& first, const Request& other) {
  return first.model == other.model && first.plan == other.plan && first.height == other.height &&
         first.width == other.width && first.targets.size() == other.targets.size() && first.given.empty() &&
         other.given.empty();
}

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

Worker::Worker(at::Device device, WorkerParts parts)
    : device_(device), parts_(std::move(parts)), thread_([this] { loop(); }) {}

Worker::~Worker() { stop(); }

void Worker::submit(std::vector<std::unique_ptr<Request>> requests, size_t limit) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) throw EngineError("MODEL_CLOSED", "The engine is shutting down.");
    if (waiting_requests_ + requests.size() > limit) {
      throw EngineError("QUEUE_FULL", std::to_string(waiting_requests_) + " images wait already, of " +
                                          std::to_string(limit) + " that may; send fewer at once, or raise maxQueue.");
    }
    waiting_requests_ += requests.size();
    counters().queued += static_cast<int64_t>(requests.size());
    for (auto& request : requests) queue_.push_back({std::move(request), nullptr, nullptr});
  }
  wake_.notify_all();
}

void Worker::withdraw_cancelled() {
  Requests withdrawn;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto it = queue_.begin(); it != queue_.end();) {
      if (!it->request || !it->request->cancellation->is_cancelled()) {
        ++it;
        continue;
      }
      withdrawn.push_back(std::move(it->request));
      it = queue_.erase(it);
    }
    waiting_requests_ -= withdrawn.size();
    counters().queued -= static_cast<int64_t>(withdrawn.size());
  }
  // A batch that waits for more images may hold some too.
  wake_.notify_all();
  for (const auto& request : withdrawn) fail(*request, EngineError("ABORTED", "The request was aborted."));
}

size_t Worker::waiting() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return waiting_requests_;
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
  const c10::OptionalDeviceGuard guard(device_.is_cpu() ? std::nullopt : std::optional<at::Device>(device_));
  c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
  c10::WarningUtils::set_warning_handler(&quiet_warnings());
  give_way();
  at::init_num_threads();
  apply_threads();

  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    if (under_way_.empty()) wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    if (stopping_) break;
    // Whoever waits for a batch under way must not wait for others' delays, nor may a task overtake it.
    if (!under_way_.empty() && !is_due()) {
      lock.unlock();
      deliver_first();
      lock.lock();
      continue;
    }
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
    auto batch = take(next_in_turn([](const Request&) { return true; }), lock, /*waits=*/true);
    if (batch.empty()) continue;
    lock.unlock();
    apply_threads();
    run_batch(std::move(batch));
    lock.lock();
  }
  auto left = std::move(queue_);
  queue_.clear();
  waiting_requests_ = 0;
  lock.unlock();
  while (!under_way_.empty()) deliver_first();
  transfer_.reset();
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
  const int wanted = engine_threads();
  if (wanted == threads_) return;
  at::set_num_threads(wanted);
  threads_ = wanted;
}

size_t Worker::most_images(const Request& first) const {
  const auto wanted = std::max<int64_t>(1, first.max_batch);
  return static_cast<size_t>(limits_.is_empty() ? wanted : limits_.most(kind_of(first), wanted));
}

// Whether the batch whose turn it is would run at once if it were gathered now. Under the lock.
bool Worker::is_due() {
  if (queue_.empty() || !queue_.front().request) return false;
  const Request& first = *next_in_turn([](const Request&) { return true; })->request;
  if (first.max_delay.count() <= 0) return true;
  const size_t limit = most_images(first);
  size_t count = 0;
  for (auto it = queue_.begin(); it != queue_.end() && count < limit; ++it) {
    if (!it->request) return true;  // a fence: no more will come
    if (it->request.get() == &first || gathers_with(first, *it->request)) ++count;
  }
  return count >= limit;
}

// Of the waiting requests that may run, the first of the client who was served longest ago; the end of the queue where
// there is none. A task in the queue is a fence: what was asked for after a close must not run before it. Under the lock.
Worker::Position Worker::next_in_turn(const std::function<bool(const Request&)>& may) {
  auto found = queue_.end();
  int64_t served = 0, last = 0;
  const std::string* client = nullptr;
  for (auto it = queue_.begin(); it != queue_.end() && it->request; ++it) {
    // Neighbors are mostly one client's.
    if (client == nullptr || *client != it->request->client) {
      client = &it->request->client;
      const auto known = served_.find(*client);
      last = known == served_.end() ? 0 : known->second;
    }
    if ((found != queue_.end() && last >= served) || !may(*it->request)) continue;
    found = it;
    served = last;
  }
  return found;
}

// The request, and every other waiting one that can share its batch; none where all were aborted meanwhile. `waits`: whether
// it waits its delay for more.
Worker::Requests Worker::take(Position first, std::unique_lock<std::mutex>& lock, bool waits) {
  constexpr size_t kKnownClients = 1024;  // who comes again after so many others is as good as new
  Requests batch;
  const auto remove = [&](Position it) {
    batch.push_back(std::move(it->request));
    waiting_requests_ -= 1;
    counters().queued -= 1;
    counters().running += 1;
    return queue_.erase(it);
  };
  if (served_.size() >= kKnownClients) served_.clear();
  served_[first->request->client] = ++turns_;
  remove(first);
  const size_t limit = most_images(*batch[0]);
  const auto deadline = std::chrono::steady_clock::now() + batch[0]->max_delay;
  while (true) {
    bool fenced = false;
    for (auto it = queue_.begin(); it != queue_.end() && batch.size() < limit;) {
      if (!it->request) {
        fenced = true;
        break;
      }
      it = gathers_with(*batch[0], *it->request) ? remove(it) : std::next(it);
    }
    if (!waits || batch.size() >= limit || fenced || stopping_) break;
    if (wake_.wait_until(lock, deadline) == std::cv_status::timeout) break;
    const auto cancelled = std::stable_partition(
        batch.begin(), batch.end(), [](const auto& request) { return !request->cancellation->is_cancelled(); });
    if (cancelled == batch.end()) continue;
    Requests left(std::make_move_iterator(cancelled), std::make_move_iterator(batch.end()));
    batch.erase(cancelled, batch.end());
    lock.unlock();
    for (const auto& request : left) settle(*request, EngineError("ABORTED", "The request was aborted."));
    left.clear();
    lock.lock();
    if (batch.empty()) break;
  }
  return batch;
}

// Runs one waiting batch that asks for much less than a job of this cost, if there is one.
bool Worker::run_shorter(int64_t cost) {
  constexpr int64_t kMuchLess = 8;
  Requests batch;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    if (stopping_) return false;
    // Another size would take seconds, and may let the network go whose job has paused.
    const auto first = next_in_turn([&](const Request& request) {
      const Plan& plan = *request.plan;
      return plan.cost <= cost / kMuchLess && request.model->has_network(request.height, request.width, plan.output);
    });
    if (first == queue_.end()) return false;
    batch = take(first, lock, /*waits=*/false);
  }
  run_batch(std::move(batch));
  return true;
}

}  // namespace sightline
