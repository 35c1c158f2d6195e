#include "engine/steps/runner.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include "engine/errors.h"
#include "engine/programs/precision.h"

namespace sightline {

namespace {

// Ranks (-1 for the best class, -2 for the next) to class indices, by each image's own scores.
at::Tensor resolve_targets(const at::Tensor& targets, const at::Tensor& logits, int64_t ranks) {
  if (ranks == 0) return targets;
  if (!logits.defined()) throw EngineError("INTERNAL", "A plan without logits cannot rank classes.");
  const auto ranked = std::get<1>(logits.detach().to(at::kFloat).topk(std::min(ranks, logits.size(1)), 1));
  return at::where(targets < 0, ranked.gather(1, (-targets - 1).clamp(0, ranked.size(1) - 1)), targets);
}

}  // namespace

DeviceResult Runner::run() {
  for (const auto& output : plan_.outputs) {
    if (!output.per_target || shape_.count > 0) continue;
    throw EngineError("INVALID_OPTION",
                      "The method '" + plan_.method + "' explains a class: name at least one target.");
  }
  Frame frame = frame_of(plan_.block);
  run_shared(plan_.block, frame);
  DeviceResult result;
  if (shape_.count > 0) {
    result.targets = resolve_targets(asked_.targets, logits_, shape_.lowest_rank);
    result.against = at::full_like(result.targets, -1);
    if (shape_.is_compared) {
      const auto has_other = asked_.against != kNoClass;
      const auto others = at::where(has_other, asked_.against, at::zeros_like(asked_.against));
      result.against = at::where(has_other, resolve_targets(others, logits_, shape_.lowest_rank), result.against);
    }
  }
  for (int64_t t = 0; t < shape_.count; ++t) {
    targets_.push_back(result.targets.select(1, t).contiguous());
    against_.push_back(shape_.is_compared ? result.against.select(1, t).contiguous() : at::Tensor());
  }
  run_per_target(plan_.block, frame);
  for (const auto& output : plan_.outputs) {
    if (!output.per_target) {
      result.outputs.push_back(frame.shared[output.value]);
      continue;
    }
    Tensors each;
    for (const auto& own : frame.own) {
      const auto& value = own[output.value];
      // Windowed attention comes as [batch * windows, ...]: the targets' axis must come behind the batch, not behind the windows.
      each.push_back(value.size(0) == rows_ ? value : value.unflatten(0, {rows_, value.size(0) / rows_}));
    }
    result.outputs.push_back(at::stack(each, 1));
  }
  result.operators = operators_;
  result.chunk = chunk_;
  return result;
}

void Runner::run_shared(const Block& block, Frame& frame) {
  for (const auto& step : block.steps) {
    if (!step.per_target) execute(block, step, frame, kShared, /*is_last=*/true);
  }
}

void Runner::run_per_target(const Block& block, Frame& frame) {
  if (shape_.count == 0) return;
  std::vector<const Step*> waiting;
  const auto run_waiting = [&] {
    for (int64_t t = 0; t < shape_.count; ++t) {
      for (const Step* step : waiting) execute(block, *step, frame, t, t == shape_.count - 1);
    }
    waiting.clear();
  };
  for (const auto& step : block.steps) {
    if (!step.per_target) continue;
    if (!is_loop_over_samples(step)) {
      waiting.push_back(&step);
      continue;
    }
    run_waiting();
    execute(block, step, frame, kShared, /*is_last=*/true);
  }
  run_waiting();
}

void Runner::execute(const Block& block, const Step& step, Frame& frame, int64_t target, bool is_last) {
  if (cancelled_()) throw EngineError("ABORTED", "The request was aborted.");
  context_.targets = target == kShared ? at::Tensor() : targets_.at(target);
  context_.against = target == kShared ? at::Tensor() : against_.at(target);
  try {
    run_step(block, step, frame, target, is_last);
  } catch (const EngineError& error) {
    if (error.code() != "INTERNAL") throw;
    throw EngineError("STEP_FAILED", describe(step) + ": " + error.message(), error.details());
  } catch (...) {
    throw translate_current_exception("STEP_FAILED", describe(step));
  }
  for (const int value : step.frees) {
    if (!block.per_target[value]) {
      if (is_last) frame.shared[value] = at::Tensor();
    } else if (target == kShared) {
      for (auto& own : frame.own) own[value] = at::Tensor();
    } else {
      frame.own[target][value] = at::Tensor();
    }
  }
}

void Runner::run_step(const Block& block, const Step& step, Frame& frame, int64_t target, bool is_last) {
  const auto input = [&](size_t i) -> at::Tensor& { return at_register(block, frame, step.inputs[i], target); };
  const auto output = [&](size_t i) -> at::Tensor& { return at_register(block, frame, step.outputs[i], target); };
  if (step.operation->control == Control::None) {
    at::AutoGradMode mode(step.recorded);
    Tensors inputs;
    inputs.reserve(step.inputs.size());
    for (size_t i = 0; i < step.inputs.size(); ++i) inputs.push_back(in_float32(input(i)));
    auto outputs = step.operation->run(inputs, step.attributes, context_);
    for (size_t i = 0; i < step.outputs.size(); ++i) output(i) = std::move(outputs.at(i));
    return;
  }
  if (is_loop_over_samples(step)) {
    sample(block, step, frame);
    return;
  }
  Tensors inputs;
  for (size_t i = 0; i < step.inputs.size(); ++i) inputs.push_back(input(i));
  auto outputs = control(step, inputs, target, is_last);
  for (size_t i = 0; i < step.outputs.size(); ++i) output(i) = std::move(outputs.at(i));
}

Tensors Runner::control(const Step& step, const Tensors& inputs, int64_t target, bool is_last) {
  switch (step.operation->control) {
    case Control::Image:
      return {images_};
    case Control::Constant: {
      auto& kept = step.constant_on_device.at(
          static_cast<size_t>(images_.device().has_index() ? images_.device().index() + 1 : 0));
      if (!kept.defined()) kept = step.constant.to(images_.device());
      return {kept};
    }
    case Control::Given:
      return {asked_.given.at(step.attributes.text("name")).to(images_.device())};
    case Control::Forward:
      return forward(step, inputs, target);
    case Control::Resume:
      return resume(step, inputs, target);
    case Control::Gradient:
      return gradient(step, inputs, is_last);
    case Control::Iterate:
      return {iterate(step, inputs, target)};
    case Control::Accumulate:
    case Control::Concatenate:
    case Control::None:
      break;
  }
  throw EngineError("INTERNAL", "'" + step.op + "' is no step that runs by itself.");
}

void Runner::run_block(const Block& block, Frame& frame) {
  ++depth_;
  run_shared(block, frame);
  run_per_target(block, frame);
  --depth_;
}

}  // namespace sightline
