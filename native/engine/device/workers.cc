#include "engine/device/workers.h"

#include <ATen/Parallel.h>

#include <atomic>
#include <map>

namespace sightline {

namespace {

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

void set_engine_threads(int count) { wanted_threads = count; }

void limit_engine_threads(int most) {
  int nobody = 0;
  if (most < at::get_num_threads()) wanted_threads.compare_exchange_strong(nobody, most);
}

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
