// The workers of the process, one for each device, and what is set for all of them.
#pragma once

#include <memory>

#include "engine/device/worker.h"

namespace sightline {

// LibTorch's threads on the CPU, of workers that run as well as of later ones; 0 for LibTorch's own choice.
void set_engine_threads(int count);
// At most so many, unless a number was set before.
void limit_engine_threads(int most);
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
