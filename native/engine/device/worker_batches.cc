// What a worker does with a batch: prepare its images, hand it over, deliver its results.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <chrono>

#include "engine/device/device_memory.h"
#include "engine/device/device_run.h"
#include "engine/device/worker.h"
#include "engine/steps/pause_points.h"

namespace sightline {

namespace {

// What the numbers stand for where the model scores no classes is the plan's own.
void check_targets(const Request& request, const NetworkInfo& info) {
  if (info.classes == 0) return;
  for (const auto* classes : {&request.targets, &request.against}) {
    for (const int64_t target : *classes) {
      if (target == kNoClass || (target < info.classes && -target <= info.classes)) continue;
      throw EngineError("UNKNOWN_TARGET", "There is no class " + std::to_string(target >= 0 ? target : -target) +
                                              "; the model has " + std::to_string(info.classes) + ".");
    }
  }
}

}  // namespace

BatchResult run_batch_of(const std::shared_ptr<const Plan>& plan, Network& network, Model& model,
                         const at::Tensor& images, const Asked& asked, Transfer& transfer,
                         const std::function<bool()>& cancelled) {
  if (!transfer.is_asynchronous()) return run_plan(*plan, network, model.self(), images, asked, cancelled);
  return run_beside(plan, network, replays_of(model), model.self(), images, asked, transfer, cancelled);
}

void Worker::run_batch(Requests batch) {
  Network* network = nullptr;
  try {
    if (!transfer_) transfer_ = parts_.transfer(device_);
    network = &batch[0]->model->network(batch[0]->height, batch[0]->width, batch[0]->plan->output);
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

// A batch that does not fit is run as two, each of which may be divided again; an image that does not fit alone fails. So
// does one that turns out wrong during the run (more segments than samples), and its neighbours do not.
void Worker::run_in_memory(Network& network, Requests requests) {
  const auto error = launch(network, requests);
  if (!error) return;
  const bool is_out_of_memory = error->code() == "OUT_OF_MEMORY";
  if (is_out_of_memory) let_go();
  const bool is_of_an_image = error->code() == "INVALID_OPTION" || error->code() == "INVALID_INPUT";
  if (!(is_out_of_memory || is_of_an_image) || requests.size() < 2) {
    for (const auto& request : requests) settle(*request, *error);
    return;
  }
  const auto half = requests.size() / 2;
  if (is_out_of_memory) {
    limits_.remember(kind_of(*requests[0]), static_cast<int64_t>(half));
    counters().halved_batches += 1;
  }
  Requests rest(std::make_move_iterator(requests.begin() + static_cast<std::ptrdiff_t>(half)),
                std::make_move_iterator(requests.end()));
  requests.resize(half);
  run_in_memory(network, std::move(requests));
  run_in_memory(network, std::move(rest));
}

// What of the device's memory the engine can do without.
void Worker::let_go() {
  while (!under_way_.empty()) deliver_first();
  for (const auto& known : models_) {
    if (const auto model = known.lock()) model->drop_run_caches();
  }
  empty_device_cache(device_);
}

// One image as the model takes it, float32.
at::Tensor Worker::prepare(const Request& request) {
  at::Tensor image;
  if (!transfer_->is_asynchronous()) {
    image = request.cancellation->read([&] {
      return request.preprocessing
                 ? preprocess(request.pixels, *request.preprocessing, normalisation(*request.preprocessing))
                 : request.tensor.to(at::kCPU, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
    });
  } else {
    image = request.cancellation->read(
        [&] { return transfer_->stage(request.preprocessing ? request.pixels : request.tensor); });
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
    const std::vector<int64_t> sizes{static_cast<int64_t>(requests.size()),
                                     static_cast<int64_t>(requests[0]->targets.size())};
    const Asked asked{transfer_->stage(at::tensor(targets, at::kLong).view(sizes)),
                      transfer_->stage(at::tensor(against, at::kLong).view(sizes)), requests[0]->given};
    // A long job has half of the time for itself, so that it ends however many shorter ones come. Runs of a device that
    // works by itself are handed over whole.
    using Clock = std::chrono::steady_clock;
    const auto started = Clock::now();
    Clock::duration passed{0};
    const std::function<void()> let_pass = [&] {
      for (auto paused = Clock::now(); passed <= paused - started - passed; paused = Clock::now()) {
        if (!run_shorter(requests[0]->plan->cost)) break;
        passed += Clock::now() - paused;
      }
    };
    std::optional<PauseScope> pauses;
    if (!transfer_->is_asynchronous()) pauses.emplace(let_pass);
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
        single.outputs.push_back({result.outputs[o].name,
                                  is_shared ? at::empty(values.sizes(), values.scalar_type()).copy_(values) : values});
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

}  // namespace sightline
