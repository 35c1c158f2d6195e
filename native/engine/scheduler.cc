#include "engine/scheduler.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/core/AutogradState.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/GradMode.h>

#include "engine/device_memory.h"
#include "engine/device_run.h"

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

// A request that was running. Counted before it is told: whoever reads the counters then must not find it running.
void settle(Request& request, const EngineError& error) {
  counters().running -= 1;
  fail(request, error);
}

BatchLimits::Kind kind_of(const Request& request) {
  return {request.model, request.plan, request.height, request.width, static_cast<int64_t>(request.targets.size())};
}

void check_targets(const Request& request, const NetworkInfo& info) {
  for (const auto* classes : {&request.targets, &request.against}) {
    for (const int64_t target : *classes) {
      if (target == kNoClass || (target < info.classes && -target <= info.classes)) continue;
      throw EngineError("UNKNOWN_TARGET", "There is no class " + std::to_string(target >= 0 ? target : -target) +
                                              "; the model has " + std::to_string(info.classes) + ".");
    }
  }
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

BatchResult run_batch_of(const std::shared_ptr<const Plan>& plan, Network& network, Model& model, const at::Tensor& images,
                         const Asked& asked, Transfer& transfer, const std::function<bool()>& cancelled) {
  if (!transfer.is_asynchronous()) return run_plan(*plan, network, model.self(), images, asked, cancelled);
  return run_beside(plan, network, model.replays(), model.self(), images, asked, transfer, cancelled);
}

Worker::Worker(at::Device device, WorkerParts parts)
    : device_(device), parts_(std::move(parts)), thread_([this] { loop(); }) {}

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
  const c10::OptionalDeviceGuard guard(device_.is_cuda() ? std::optional<at::Device>(device_) : std::nullopt);
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
    auto batch = gather(lock);
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
  const int wanted = wanted_threads;
  if (wanted == threads_) return;
  at::set_num_threads(wanted);
  threads_ = wanted;
}

size_t Worker::most_images(const Request& first) const {
  const auto wanted = std::max<int64_t>(1, first.max_batch);
  return static_cast<size_t>(limits_.is_empty() ? wanted : limits_.most(kind_of(first), wanted));
}

// Whether the batch at the queue's head would run at once if it were gathered now. Under the lock.
bool Worker::is_due() const {
  if (queue_.empty() || !queue_.front().request) return false;
  const Request& first = *queue_.front().request;
  if (first.max_delay.count() <= 0) return true;
  const size_t limit = most_images(first);
  size_t count = 1;
  for (auto it = std::next(queue_.begin()); it != queue_.end() && count < limit; ++it) {
    if (!it->request) return true;  // a fence: no more will come
    if (gathers_with(first, *it->request)) ++count;
  }
  return count >= limit;
}

// The first request, and every other waiting one that can share its batch; none where all were aborted meanwhile. A task in the queue is a fence: what was
// asked for after a close must not run before it.
Worker::Requests Worker::gather(std::unique_lock<std::mutex>& lock) {
  Requests batch;
  const auto take = [&](std::deque<Item>::iterator it) {
    batch.push_back(std::move(it->request));
    waiting_requests_ -= 1;
    counters().queued -= 1;
    counters().running += 1;
    return queue_.erase(it);
  };
  take(queue_.begin());
  const size_t limit = most_images(*batch[0]);
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
    const auto cancelled = std::stable_partition(batch.begin(), batch.end(), [](const auto& request) { return !request->cancellation->is_cancelled(); });
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

void Worker::run_batch(Requests batch) {
  Network* network = nullptr;
  try {
    if (!transfer_) transfer_ = parts_.transfer(device_);
    network = &batch[0]->model->network(batch[0]->height, batch[0]->width);
  } catch (...) {
    const auto error = translate_current_exception("INTERNAL", "The engine failed");
    for (const auto& request : batch) settle(*request, error);
    return;
  }
  std::erase_if(models_, [](const auto& model) { return model.expired(); });
  const auto is_known = [&](const auto& model) { return model.lock() == batch[0]->model; };
  if (std::none_of(models_.begin(), models_.end(), is_known)) models_.push_back(batch[0]->model);

  if (network->info().can_batch || batch.size() == 1) {
    run_in_memory(*network, std::move(batch));
    return;
  }
  for (auto& request : batch) {
    Requests alone;
    alone.push_back(std::move(request));
    run_in_memory(*network, std::move(alone));
  }
}

// A batch that does not fit is run as two, each of which may be divided again; an image that does not fit alone fails.
void Worker::run_in_memory(Network& network, Requests requests) {
  const auto error = launch(network, requests);
  if (!error) return;
  const bool is_out_of_memory = error->code() == "OUT_OF_MEMORY";
  if (is_out_of_memory) let_go();
  if (!is_out_of_memory || requests.size() < 2) {
    for (const auto& request : requests) settle(*request, *error);
    return;
  }
  const auto half = requests.size() / 2;
  limits_.remember(kind_of(*requests[0]), static_cast<int64_t>(half));
  counters().halved_batches += 1;
  Requests rest(std::make_move_iterator(requests.begin() + static_cast<std::ptrdiff_t>(half)), std::make_move_iterator(requests.end()));
  requests.resize(half);
  run_in_memory(network, std::move(requests));
  run_in_memory(network, std::move(rest));
}

// What of the device's memory the engine can do without.
void Worker::let_go() {
  while (!under_way_.empty()) deliver_first();
  for (const auto& known : models_) {
    if (const auto model = known.lock()) model->forget_captured();
  }
  empty_device_cache(device_);
}

// One image as the model takes it, float32.
at::Tensor Worker::prepare(const Request& request) {
  at::Tensor image;
  if (!transfer_->is_asynchronous()) {
    image = request.cancellation->read([&] {
      return request.preprocessing ? preprocess(request.pixels, *request.preprocessing, normalisation(*request.preprocessing))
                                   : request.tensor.to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
    });
  } else {
    image = request.cancellation->read([&] { return transfer_->stage(request.preprocessing ? request.pixels : request.tensor); });
  }
  // Looked at before it leaves the host: asking a GPU would wait for all that it has to do.
  if (!request.preprocessing && !at::isfinite(image).all().item<bool>()) {
    throw EngineError("INVALID_INPUT", request.label + " holds NaN or infinite values; preprocess it again.");
  }
  if (!transfer_->is_asynchronous()) return image;
  image = transfer_->send(image);
  if (!request.preprocessing) return image;
  const auto constants = transfer_->send(transfer_->stage(normalisation(*request.preprocessing)));
  return preprocess(image, *request.preprocessing, constants);
}

// Hands a batch over to the device. The requests that are left in `requests` are those that the error returned is about;
// all others are settled or under way.
std::optional<EngineError> Worker::launch(Network& network, Requests& requests) {
  const auto cancelled = [&] {
    if (stopping_) return true;
    for (const auto& request : requests) {
      if (!request->cancellation->is_cancelled()) return false;
    }
    return true;
  };
  BatchResult result;
  Arrival arrival;
  try {
    Model& model = *requests[0]->model;
    const auto images = transfer_->beside([&] {
      at::NoGradGuard no_gradients;
      std::vector<at::Tensor> prepared;
      // One image's fault must not fail its neighbours: what can be wrong with an image is found before the batch is made.
      for (auto it = requests.begin(); it != requests.end();) {
        try {
          check_targets(**it, network.info());
          prepared.push_back(prepare(**it));
          ++it;
        } catch (...) {
          const auto error = translate_current_exception("INTERNAL", (*it)->label);
          // Not this image's fault alone, where there are others.
          if (error.code() == "OUT_OF_MEMORY") throw error;
          settle(**it, error);
          it = requests.erase(it);
        }
      }
      return prepared.empty() ? at::Tensor() : at::stack(prepared).to(model.dtype());
    });
    if (requests.empty()) return std::nullopt;

    std::vector<int64_t> targets, against;
    for (const auto& request : requests) {
      targets.insert(targets.end(), request->targets.begin(), request->targets.end());
      against.insert(against.end(), request->against.begin(), request->against.end());
    }
    const std::vector<int64_t> sizes{static_cast<int64_t>(requests.size()), static_cast<int64_t>(requests[0]->targets.size())};
    const Asked asked{transfer_->stage(at::tensor(targets, at::kLong).view(sizes)),
                      transfer_->stage(at::tensor(against, at::kLong).view(sizes)), requests[0]->given};
    result = parts_.run(requests[0]->plan, network, model, images, asked, *transfer_, cancelled);

    std::vector<at::Tensor> values;
    for (auto& output : result.outputs) values.push_back(std::move(output.values));
    const bool is_asked = result.targets.defined();
    if (is_asked) values.insert(values.end(), {std::move(result.targets), std::move(result.against)});
    arrival = transfer_->fetch(std::move(values));
  } catch (...) {
    return translate_current_exception("INTERNAL", "The engine failed");
  }
  Launched launched{std::move(requests), std::move(result), std::move(arrival)};
  if (!launched.arrival.wait) {
    deliver(std::move(launched));
    return std::nullopt;
  }
  under_way_.push_back(std::move(launched));
  if (under_way_.size() > 1) deliver_first();
  return std::nullopt;
}

void Worker::deliver_first() {
  auto first = std::move(under_way_.front());
  under_way_.pop_front();
  deliver(std::move(first));
}

// Waits for a batch's results and tells those who asked for them.
void Worker::deliver(Launched launched) {
  auto& [requests, result, arrival] = launched;
  const bool is_shared = requests.size() > 1 || arrival.wait;
  const auto count = static_cast<int64_t>(requests.size());
  const size_t outputs = result.outputs.size();
  try {
    if (arrival.wait) arrival.wait();
  } catch (...) {
    const auto error = translate_current_exception("INTERNAL", "The engine failed");
    for (const auto& request : requests) settle(*request, error);
    return;
  }
  counters().batches += 1;
  const auto row_of = [](const at::Tensor& classes, int64_t i) {
    const auto row = classes.select(0, i).contiguous();
    return std::vector<int64_t>(row.data_ptr<int64_t>(), row.data_ptr<int64_t>() + row.numel());
  };
  for (int64_t i = 0; i < count; ++i) {
    Request& request = *requests[static_cast<size_t>(i)];
    std::optional<EngineError> error;
    Request::Result single{{}, {}, {}, result.operators, result.chunk, count};
    try {
      if (request.cancellation->is_cancelled()) throw EngineError("ABORTED", "The request was aborted.");
      for (size_t o = 0; o < outputs; ++o) {
        // Each image's own memory, copied here rather than on the JS thread: a part of the batch's would keep all of it
        // alive, and page-locked memory is scarce.
        const auto values = arrival.tensors[o].select(0, i);
        single.outputs.push_back({result.outputs[o].name, is_shared ? at::empty(values.sizes(), values.scalar_type()).copy_(values) : values});
      }
      if (arrival.tensors.size() > outputs) {
        single.targets = row_of(arrival.tensors[outputs], i);
        single.against = row_of(arrival.tensors[outputs + 1], i);
      }
    } catch (...) {
      error = translate_current_exception("INTERNAL", request.label);
    }
    if (error) {
      settle(request, *error);
      continue;
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

void withdraw_cancelled() {
  std::vector<std::shared_ptr<Worker>> running;
  {
    const std::lock_guard<std::mutex> lock(workers_mutex());
    for (const auto& [name, worker] : workers()) running.push_back(worker);
  }
  for (const auto& worker : running) worker->withdraw_cancelled();
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
