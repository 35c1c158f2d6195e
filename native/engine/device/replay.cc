#include "engine/device/replay.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <cstdlib>

#include "engine/errors.h"

namespace sightline {

namespace {

DeviceResult copy_of(const DeviceResult& result) {
  DeviceResult copy{{}, {}, {}, result.operators, result.chunk};
  for (const auto& output : result.outputs) copy.outputs.push_back(output.clone());
  if (result.targets.defined()) {
    copy.targets = result.targets.clone();
    copy.against = result.against.clone();
  }
  return copy;
}

at::MemoryFormat format_of(const at::Tensor& images) {
  return images.is_contiguous(at::MemoryFormat::ChannelsLast) && !images.is_contiguous()
             ? at::MemoryFormat::ChannelsLast
             : at::MemoryFormat::Contiguous;
}

bool is_same_plan(const std::weak_ptr<const Plan>& one, const std::weak_ptr<const Plan>& other) {
  return !one.owner_before(other) && !other.owner_before(one);
}

}  // namespace

ReplayCounters& replay_counters() {
  static auto* counters = new ReplayCounters;
  return *counters;
}

bool is_repeatable(const Plan& plan) {
  if (!plan.is_free_of_host) return false;
  // A resumed run counts the images that it repeats.
  return std::none_of(plan.block.steps.begin(), plan.block.steps.end(),
                      [](const Step& step) { return !step.replaces.empty(); });
}

bool are_graphs_allowed() {
  const char* setting = std::getenv("SIGHTLINE_CUDA_GRAPHS");
  return setting == nullptr || std::string(setting) != "0";
}

// What a replay reads and writes stays where it was when it was captured.
struct Replays::Captured {
  std::unique_ptr<CapturedGraph> graph;  // first, so that it goes last: its memory holds the outputs
  Run run;                               // owns what the graph reads
  at::Tensor images, targets, against;
  DeviceResult result;
};

Replays::Shape& Replays::find_shape(const std::shared_ptr<const Plan>& plan, const TargetShape& asked,
                                    const at::Tensor& images, const at::Tensor& targets) {
  // Plans that are gone take their captured runs along.
  std::erase_if(shapes_, [](const Shape& shape) { return shape.plan.expired(); });
  const std::weak_ptr<const Plan> weak = plan;
  const auto format = format_of(images);
  bool is_plain = false;
  for (auto it = shapes_.begin(); it != shapes_.end(); ++it) {
    if (!is_same_plan(it->plan, weak)) continue;
    is_plain = is_plain || it->is_plain;
    if (images.sizes() != it->images || targets.sizes() != it->targets || images.scalar_type() != it->dtype ||
        format != it->format || asked != it->asked) {
      continue;
    }
    shapes_.splice(shapes_.begin(), shapes_, it);
    return shapes_.front();
  }
  shapes_.push_front(
      {weak, images.sizes().vec(), targets.sizes().vec(), images.scalar_type(), format, asked, 0, false, nullptr});
  shapes_.front().is_plain = is_plain || !is_repeatable(*plan);
  if (shapes_.size() > kMostCounted) shapes_.pop_back();
  return shapes_.front();
}

size_t Replays::captured() const {
  return static_cast<size_t>(
      std::count_if(shapes_.begin(), shapes_.end(), [](const Shape& shape) { return shape.captured != nullptr; }));
}

void Replays::make_room() {
  size_t kept = 0;
  for (auto& shape : shapes_) {
    if (shape.captured == nullptr || ++kept < kMostCaptured) continue;
    // It has to earn its place again, lest two shapes too many turn each other out at every run.
    shape.captured.reset();
    shape.runs = 0;
  }
}

void Replays::refuse(const Shape& failed) {
  const auto plan = failed.plan;
  replay_counters().refused += 1;
  for (auto& shape : shapes_) {
    if (!is_same_plan(shape.plan, plan)) continue;
    shape.is_plain = true;
    shape.captured.reset();
  }
}

void Replays::keep_only(int64_t generation) {
  if (generation == generation_) return;
  clear();
  generation_ = generation;
}

// Captures a run and gives its first results; none where it cannot be captured.
std::optional<DeviceResult> Replays::capture(Shape& shape, const at::Tensor& images, const at::Tensor& targets,
                                             const at::Tensor& against, const Run& run) {
  make_room();
  const auto captured = std::make_shared<Captured>();
  captured->run = run;
  try {
    captured->images = images.clone();
    captured->targets = targets.clone();
    if (against.defined()) captured->against = against.clone();
    captured->graph = capture_(images.device(), [&state = *captured] {
      state.result = {};
      state.result = state.run(state.images, state.targets, state.against);
    });
    if (captured->graph == nullptr) {
      is_enabled_ = false;
      return std::nullopt;
    }
    captured->graph->replay();
    auto result = copy_of(captured->result);
    shape.captured = captured;
    replay_counters().captured += 1;
    return result;
  } catch (const EngineError& error) {
    // Nobody waits for it any more, which is no fault of the capture.
    if (error.code() == "ABORTED") throw;
  } catch (const std::exception&) {
    // A fault of the run's own shows again when it is run plainly.
  }
  refuse(shape);
  return std::nullopt;
}

DeviceResult Replays::run(const std::shared_ptr<const Plan>& plan, const TargetShape& asked, const at::Tensor& images,
                          const at::Tensor& targets, const at::Tensor& against, const Run& run) {
  if (!is_enabled_ || images.size(0) > kMostImages) return run(images, targets, against);
  Shape& shape = find_shape(plan, asked, images, targets);
  if (shape.is_plain) return run(images, targets, against);
  at::NoGradGuard no_gradients;
  if (shape.captured != nullptr) {
    auto& captured = *shape.captured;
    captured.images.copy_(images);
    captured.targets.copy_(targets);
    if (against.defined()) captured.against.copy_(against);
    captured.graph->replay();
    replay_counters().replayed += 1;
    // The next replay writes over them.
    return copy_of(captured.result);
  }
  if (shape.runs >= kPlainRuns) {
    if (auto result = capture(shape, images, targets, against, run)) return std::move(*result);
  } else {
    shape.runs += 1;
  }
  return run(images, targets, against);
}

Replays& replays_of(Model& model) {
  auto& kept = model.run_cache();
  if (!kept)
    kept = std::make_unique<Replays>(model.allows_captures() && model.device().is_cuda() && is_capture_built() &&
                                     are_graphs_allowed());
  return static_cast<Replays&>(*kept);
}

}  // namespace sightline
