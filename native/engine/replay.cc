#include "engine/replay.h"

#include <cstdlib>

#include "engine/errors.h"

namespace sightline {

namespace {

// A list of what may be captured, not of what may not: a capture that fails costs its plan four runs.
bool is_capturable(const std::string& op) {
  static const auto* names = new std::unordered_set<std::string>{
      "abs", "add", "asked", "bias", "clamp", "class_row", "cos", "detach", "div", "equal", "exp", "eye_like", "flip",
      "floor", "forward", "gather", "gradient", "greater", "head_weight", "highest", "image", "log", "lowest", "matmul",
      "max", "maximum", "mean", "min", "minimum", "mul", "narrow", "neg", "norm_weight", "output_projection", "permute",
      "power", "relu", "scale", "scale_to_unit", "score", "select", "shift", "sigmoid", "sign", "sin", "softmax", "split",
      "sqrt", "square", "stack", "sub", "sum", "take", "tanh", "target", "top", "unsqueeze", "upsample", "variable",
      "zero_smallest"};
  return names->count(op) != 0;
}

DeviceResult copy_of(const DeviceResult& result) {
  DeviceResult copy{{}, {}, {}, result.operators, result.chunk};
  for (const auto& output : result.outputs) copy.outputs.push_back(output.clone());
  if (result.targets.defined()) {
    copy.targets = result.targets.clone();
    copy.against = result.against.clone();
  }
  return copy;
}

// At most: each run of the model has a program, and another where it is differentiated with respect to its input.
int64_t programs_of(const Block& block) {
  int64_t count = 0;
  for (const auto& step : block.steps) {
    if (step.op == "forward" || step.op == "resume") count += 2;
    if (step.body) count += programs_of(*step.body);
  }
  return count;
}

at::MemoryFormat format_of(const at::Tensor& images) {
  return images.is_contiguous(at::MemoryFormat::ChannelsLast) && !images.is_contiguous() ? at::MemoryFormat::ChannelsLast
                                                                                          : at::MemoryFormat::Contiguous;
}

bool is_same(const std::weak_ptr<const Plan>& one, const std::weak_ptr<const Plan>& other) {
  return !one.owner_before(other) && !other.owner_before(one);
}

}  // namespace

ReplayCounters& replay_counters() {
  static auto* counters = new ReplayCounters;
  return *counters;
}

bool is_repeatable(const Plan& plan) {
  for (const auto& step : plan.block.steps) {
    if (step.body || !step.replaces.empty() || !is_capturable(step.op)) return false;
  }
  return true;
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

Replays::Shape& Replays::find_shape(const std::shared_ptr<const Plan>& plan, const TargetShape& asked, const at::Tensor& images,
                                    const at::Tensor& targets) {
  // Plans that are gone take their captured runs along.
  std::erase_if(shapes_, [](const Shape& shape) { return shape.plan.expired(); });
  const std::weak_ptr<const Plan> weak = plan;
  const auto format = format_of(images);
  bool is_plain = false;
  for (auto it = shapes_.begin(); it != shapes_.end(); ++it) {
    if (!is_same(it->plan, weak)) continue;
    is_plain = is_plain || it->is_plain;
    if (images.sizes() != it->images || targets.sizes() != it->targets || images.scalar_type() != it->dtype || format != it->format ||
        asked != it->asked) {
      continue;
    }
    shapes_.splice(shapes_.begin(), shapes_, it);
    return shapes_.front();
  }
  shapes_.push_front({weak, images.sizes().vec(), targets.sizes().vec(), images.scalar_type(), format, asked, 0, false, nullptr});
  shapes_.front().is_plain = is_plain || !is_repeatable(*plan);
  if (shapes_.size() > kMostCounted) shapes_.pop_back();
  return shapes_.front();
}

size_t Replays::captured() const {
  return static_cast<size_t>(std::count_if(shapes_.begin(), shapes_.end(), [](const Shape& shape) { return shape.captured != nullptr; }));
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
    if (!is_same(shape.plan, plan)) continue;
    shape.is_plain = true;
    shape.captured.reset();
  }
}

bool Replays::may_capture_after(const std::shared_ptr<const Plan>& plan) {
  if (plans_.insert(plan).second) programs_ += programs_of(plan->block);
  if (programs_ <= kMostPrograms) return true;
  is_enabled_ = false;
  clear();
  plans_.clear();
  return false;
}

// Captures a run and gives its first results; none where it cannot be captured.
std::optional<DeviceResult> Replays::capture(Shape& shape, const at::Tensor& images, const at::Tensor& targets, const at::Tensor& against,
                                             const Run& run) {
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
  if (!is_enabled_ || !may_capture_after(plan) || images.size(0) > kMostImages) return run(images, targets, against);
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

}  // namespace sightline
