#include "engine/steps/interpreter.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "engine/cancel_points.h"
#include "engine/errors.h"
#include "engine/steps/operations.h"

namespace sightline {

namespace {

at::Tensor widened(const at::Tensor& x) {
  return at::isReducedFloatingType(x.scalar_type()) ? x.to(at::kFloat) : x;
}

// What a quantised model computes is shown as the numbers that it stands for.
Tensors dequantized(Tensors values) {
  for (auto& value : values) {
    if (value.is_quantized()) value = value.dequantize();
  }
  return values;
}

// Ranks (-1 for the best class, -2 for the next) to class indices, by each image's own scores.
at::Tensor resolve_targets(const at::Tensor& targets, const at::Tensor& logits, int64_t ranks) {
  if (ranks == 0) return targets;
  if (!logits.defined()) throw EngineError("INTERNAL", "A plan without logits cannot rank classes.");
  const auto ranked = std::get<1>(logits.detach().to(at::kFloat).topk(std::min(ranks, logits.size(1)), 1));
  return at::where(targets < 0, ranked.gather(1, (-targets - 1).clamp(0, ranked.size(1) - 1)), targets);
}

// The values of a block while it runs.
struct Frame {
  Tensors shared;            // by register
  std::vector<Tensors> own;  // by target, then by register: what there is one of for each target
};

// At most so many images go through the model at once in a loop, whatever the memory: between chunks a request can be
// aborted.
constexpr int64_t kMostRowsOnCpu = 32;
constexpr int64_t kMostRowsOnGpu = 256;

class Runner {
 public:
  Runner(const Plan& plan, Network& network, const c10::IValue& self, const at::Tensor& images, const Asked& asked,
         const TargetShape& shape, const std::function<bool()>& cancelled)
      : plan_(plan), network_(network), self_(self), images_(images), asked_(asked), shape_(shape), cancelled_(cancelled), rows_(images.size(0)) {
    context_.network = &network.info();
    context_.cancelled = &cancelled_;
  }

  DeviceResult run() {
    for (const auto& output : plan_.outputs) {
      if (!output.per_target || shape_.count > 0) continue;
      throw EngineError("INVALID_OPTION", "The method '" + plan_.method + "' explains a class: name at least one target.");
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

 private:
  // For which target a step runs; kShared where it runs once for all.
  static constexpr int64_t kShared = -1;

  Frame frame_of(const Block& block) const {
    return {Tensors(block.registers), std::vector<Tensors>(shape_.count, Tensors(block.registers))};
  }

  static Tensors& registers_of(const Block& block, Frame& frame, int value, int64_t target) {
    return block.per_target[value] ? frame.own.at(target) : frame.shared;
  }

  static at::Tensor& at_register(const Block& block, Frame& frame, int value, int64_t target) {
    return registers_of(block, frame, value, target)[value];
  }

  void run_shared(const Block& block, Frame& frame) {
    for (const auto& step : block.steps) {
      if (!step.per_target) execute(block, step, frame, kShared, /*is_last=*/true);
    }
  }

  // Target by target, so that the values of one are let go before those of the next are made; a loop over samples runs
  // once for all targets, whose samples then share what does not depend on the target: the forward pass.
  void run_per_target(const Block& block, Frame& frame) {
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

  // `is_last`: whether no other target's turn comes after this one's.
  void execute(const Block& block, const Step& step, Frame& frame, int64_t target, bool is_last) {
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

  std::string describe(const Step& step) const {
    return plan_.method + " failed in '" + step.op + "'" + (step.where.empty() ? "" : " (" + step.where + ")");
  }

  void run_step(const Block& block, const Step& step, Frame& frame, int64_t target, bool is_last) {
    const auto input = [&](size_t i) -> at::Tensor& { return at_register(block, frame, step.inputs[i], target); };
    const auto output = [&](size_t i) -> at::Tensor& { return at_register(block, frame, step.outputs[i], target); };
    if (step.operation->control == Control::None) {
      at::AutoGradMode mode(step.recorded);
      Tensors inputs;
      inputs.reserve(step.inputs.size());
      for (size_t i = 0; i < step.inputs.size(); ++i) inputs.push_back(widened(input(i)));
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

  Tensors control(const Step& step, const Tensors& inputs, int64_t target, bool is_last) {
    switch (step.operation->control) {
      case Control::Image:
        return {images_};
      case Control::Constant: {
        auto& kept = step.constant_on_device.at(static_cast<size_t>(images_.device().has_index() ? images_.device().index() + 1 : 0));
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

  static Rule rule_of(const Step& step) {
    if (!step.attributes.has("rule")) return {};
    return {step.attributes.text("rule"), step.attributes.number("linear_gamma"), step.attributes.number("convolution_gamma")};
  }

  const Step& resumed_run(const Step& step) const { return plan_.block.steps.at(step.attributes.integer("run")); }

  // `keeps_graph`: whether gradients are taken with respect to what its inputs were computed from.
  const Program& program_of(const Step& step, bool keeps_graph) {
    const bool is_smooth = step.attributes.has("smooth") && step.attributes.boolean("smooth");
    return network_.program({step.taps, rule_of(step.operation->control == Control::Resume ? resumed_run(step) : step), step.replaces, is_smooth, keeps_graph});
  }

  Tensors forward(const Step& step, const Tensors& inputs, int64_t target) {
    at::AutoGradMode mode(step.recorded);
    const auto images = inputs[0].to(images_.scalar_type());
    const Program& program = program_of(step, images.requires_grad());
    operators_ += program.operators();
    // What a later step may resume.
    if (depth_ == 0) runs_[{&step, target}] = images.detach();
    auto outputs = dequantized(program.run(self_, images, images.requires_grad()));
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      if (step.outputs[i] == plan_.logits && depth_ == 0) logits_ = outputs[i];
    }
    return outputs;
  }

  // A run of the method's own block with values replaced. What lies before them is computed once, however many samples
  // the loop around takes.
  Tensors resume(const Step& step, const Tensors& values, int64_t target) {
    bool keeps_graph = false;
    for (const auto& value : values) keeps_graph = keeps_graph || (step.recorded && value.requires_grad());
    const Program& program = program_of(step, keeps_graph);
    const Step& run = resumed_run(step);
    const auto of = run.per_target ? target : kShared;
    const auto& images = runs_.at({&run, of});
    auto& before = before_[{&step, of}];
    if (!before) {
      before = program.run_before(self_, images);
      operators_ += program.operators_before();
    }
    operators_ += program.operators();
    at::AutoGradMode mode(step.recorded);
    return dequantized(program.run_after(self_, *before, images.size(0), values, keeps_graph));
  }

  Tensors gradient(const Step& step, const Tensors& inputs, bool is_last) {
    at::AutoGradMode mode(true);
    const Tensors taps(inputs.begin() + 1, inputs.end());
    const auto& score = inputs[0];
    if (!score.requires_grad()) {
      throw EngineError("INTERNAL", "the score does not depend on what its gradient is asked for");
    }
    // The sum over the batch differentiates every image at once: no image's score depends on another.
    const bool is_differentiable = step.attributes.has("differentiable") && step.attributes.boolean("differentiable");
    const bool keeps_graph = is_differentiable || !(step.last_gradient && is_last);
    add_cancel_points(score);
    auto gradients = torch::autograd::grad({score.sum()}, taps, {}, keeps_graph, is_differentiable, /*allow_unused=*/true);
    for (size_t i = 0; i < gradients.size(); ++i) {
      // A tap that the score does not depend on has a gradient of zero, such as patches after the last attention.
      if (!gradients[i].defined()) gradients[i] = at::zeros_like(taps[i]).detach();
      if (!is_differentiable) gradients[i] = gradients[i].detach();
    }
    return gradients;
  }

  // Whether there is anything to run for each target in the block is the block's own affair.
  void run_block(const Block& block, Frame& frame) {
    ++depth_;
    run_shared(block, frame);
    run_per_target(block, frame);
    --depth_;
  }

  // x0, then x(i+1) = body(x(i), i, captures...), `count` times.
  at::Tensor iterate(const Step& step, const Tensors& inputs, int64_t target) {
    const auto count = step.attributes.integer("count");
    const Block& body = *step.body;
    // One target at a time, each with an iteration of its own.
    const TargetShape outer = shape_;
    const auto outer_targets = targets_, outer_against = against_;
    if (target != kShared) {
      targets_ = {outer_targets.at(target)};
      against_ = {outer_against.at(target)};
      shape_.count = 1;
    } else {
      shape_.count = 0;
    }
    const int64_t only = target == kShared ? kShared : 0;
    at::Tensor state = inputs[0];
    for (int64_t i = 0; i < count; ++i) {
      Frame frame = frame_of(body);
      Tensors parameters{state, at::full({state.size(0)}, i, state.options().dtype(at::kLong))};
      parameters.insert(parameters.end(), inputs.begin() + 1, inputs.end());
      for (size_t p = 0; p < parameters.size(); ++p) at_register(body, frame, body.parameters[p], only) = parameters[p];
      run_block(body, frame);
      state = at_register(body, frame, body.results.at(0), only).detach();
    }
    shape_ = outer;
    targets_ = outer_targets;
    against_ = outer_against;
    return state;
  }

  // What one row of a block's batch takes: the runs of the model follow one another, their images add up.
  int64_t bytes_per_row(const Block& block) {
    int64_t bytes = 0;
    for (const auto& step : block.steps) {
      if (runs_the_model(step)) bytes = std::max(bytes, program_of(step, false).activation_bytes());
      if (step.body) bytes = std::max(bytes, bytes_per_row(*step.body));
    }
    // Of what there is one for each target, such as gradients of the image, as well as of masks and images.
    return bytes + 4 * std::max<int64_t>(1, shape_.count) * static_cast<int64_t>(images_.nbytes()) / images_.size(0);
  }

  // Sums of a loop's results, or the results themselves, chunk after chunk.
  struct Collected {
    Tensors parts;

    void add(const at::Tensor& values, bool is_sum) {
      if (!is_sum) {
        parts.push_back(values);
      } else if (parts.empty()) {
        parts.push_back(values.sum(1));
      } else {
        parts[0] += values.sum(1);
      }
    }
  };

  // `accumulate` sums, `concatenate` stacks what the body says of samples 0 .. count-1. Samples are folded into the
  // batch, as many at a time as the memory budget allows.
  void sample(const Block& block, const Step& step, Frame& frame) {
    const Block& body = *step.body;
    const bool is_sum = step.operation->control == Control::Accumulate;
    const auto most = step.attributes.integer("count");
    const bool is_limited = step.attributes.has("limited") && step.attributes.boolean("limited");
    const size_t captures = step.inputs.size() - (is_limited ? 1 : 0);
    const auto limit = is_limited ? frame.shared[step.inputs.back()] : at::Tensor();
    if (is_limited && !limit.defined()) throw EngineError("INTERNAL", "a loop's limit must not depend on the target");
    const auto count = is_limited ? std::clamp<int64_t>(std::llround(limit.max().item<double>()), 1, most) : most;
    const auto batch = rows_;
    const auto most_rows = images_.is_cuda() ? kMostRowsOnGpu : kMostRowsOnCpu;
    const auto affordable = std::min(plan_.memory / bytes_per_row(body), most_rows) / batch;
    const auto chunk = network_.info().can_batch ? std::clamp<int64_t>(affordable, 1, count) : 1;
    chunk_ = std::max(chunk_, chunk);
    const auto is_batched = step.attributes.numbers("batched");
    const auto outer_targets = targets_, outer_against = against_;
    // By output, then by target.
    const size_t ways = step.per_target ? static_cast<size_t>(shape_.count) : 1;
    std::vector<std::vector<Collected>> collected(step.outputs.size(), std::vector<Collected>(ways));
    for (int64_t start = 0; start < count; start += chunk) {
      const auto size = std::min(chunk, count - start);
      rows_ = batch * size;
      Frame inner = frame_of(body);
      const auto repeated = [&](const at::Tensor& value, size_t i) { return is_batched[i] != 0 ? value.repeat_interleave(size, 0) : value; };
      for (size_t i = 0; i < captures; ++i) {
        const int parameter = body.parameters[i];
        if (!body.per_target[parameter]) {
          inner.shared[parameter] = repeated(frame.shared[step.inputs[i]], i);
          continue;
        }
        for (int64_t t = 0; t < shape_.count; ++t) inner.own[t][parameter] = repeated(frame.own[t][step.inputs[i]], i);
      }
      inner.shared[body.parameters[captures]] = at::arange(start, start + size, images_.options().dtype(at::kLong)).repeat(batch);
      for (int64_t t = 0; t < static_cast<int64_t>(targets_.size()); ++t) {
        targets_[t] = outer_targets[t].repeat_interleave(size, 0);
        if (against_[t].defined()) against_[t] = outer_against[t].repeat_interleave(size, 0);
      }
      run_block(body, inner);
      for (size_t i = 0; i < body.results.size(); ++i) {
        for (size_t t = 0; t < ways; ++t) {
          auto values = at_register(body, inner, body.results[i], static_cast<int64_t>(t)).detach().unflatten(0, {batch, size});
          if (is_limited) {
            const auto numbers = at::arange(start, start + size, limit.options());
            const auto counted = (numbers.unsqueeze(0) < limit.unsqueeze(1));
            std::vector<int64_t> sizes(values.dim(), 1);
            sizes[0] = batch;
            sizes[1] = size;
            values = at::where(counted.view(sizes), values, at::zeros_like(values));
          }
          collected[i][t].add(values, is_sum);
        }
      }
    }
    rows_ = batch;
    targets_ = outer_targets;
    against_ = outer_against;
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      for (size_t t = 0; t < ways; ++t) {
        auto& parts = collected[i][t].parts;
        if (!is_sum && count < most) {
          auto sizes = parts[0].sizes().vec();
          sizes[1] = most - count;
          parts.push_back(at::zeros(sizes, parts[0].options()));
        }
        at_register(block, frame, step.outputs[i], static_cast<int64_t>(t)) = is_sum ? parts[0] : at::cat(parts, 1);
      }
    }
  }

  const Plan& plan_;
  Network& network_;
  const c10::IValue& self_;
  const at::Tensor& images_;
  const Asked& asked_;
  TargetShape shape_;
  const std::function<bool()>& cancelled_;
  int64_t rows_;  // of the batch at hand: images, times samples in a loop
  Tensors targets_, against_;  // of each target: [rows]; `against_` undefined where no target is compared
  std::map<std::pair<const Step*, int64_t>, at::Tensor> runs_;                                // the images of each run
  std::map<std::pair<const Step*, int64_t>, std::optional<std::vector<at::Tensor>>> before_;  // of each `resume`
  StepContext context_;
  at::Tensor logits_;
  int64_t operators_ = 0;
  int64_t chunk_ = 0;
  int depth_ = 0;
};

}  // namespace

at::Tensor in_float(const at::Tensor& values, const std::string& name) {
  if (values.is_complex()) {
    throw EngineError("METHOD_NOT_APPLICABLE", "'" + name + "' holds complex numbers, which are not read out; name a node before or after it.");
  }
  return values.to(at::kFloat);
}

TargetShape shape_of(const Asked& asked) {
  TargetShape shape;
  shape.count = asked.targets.size(1);
  if (shape.count == 0) return shape;
  const auto has_other = asked.against != kNoClass;
  shape.is_compared = has_other.any().item<bool>();
  const auto others = at::where(has_other, asked.against, at::zeros_like(asked.against));
  shape.lowest_rank = std::max<int64_t>(0, -std::min(asked.targets.min().item<int64_t>(), others.min().item<int64_t>()));
  return shape;
}

DeviceResult run_on_device(const Plan& plan, Network& network, const c10::IValue& self, const at::Tensor& images,
                           const Asked& asked, const TargetShape& shape, const std::function<bool()>& cancelled) {
  at::NoGradGuard no_gradients;
  const CancelScope scope(cancelled);
  return Runner(plan, network, self, images, asked, shape, cancelled).run();
}

BatchResult to_host(const Plan& plan, const DeviceResult& result, int64_t batch) {
  BatchResult host;
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    auto values = result.outputs[i].detach();
    // Windowed attention comes as [batch * windows, ...]: split, so that every output is batch first.
    if (values.size(0) != batch) values = values.unflatten(0, {batch, values.size(0) / batch});
    values = in_float(values, plan.outputs[i].name);
    // A copy in any case: outputs may share their memory with one another, with the input, or with the weights.
    host.outputs.push_back({plan.outputs[i].name, values.to(at::kCPU, values.scalar_type(), /*non_blocking=*/false, /*copy=*/true,
                                                            at::MemoryFormat::Contiguous)});
  }
  if (result.targets.defined()) {
    host.targets = result.targets.to(at::kCPU);
    host.against = result.against.to(at::kCPU);
  }
  host.operators = result.operators;
  host.chunk = result.chunk;
  return host;
}

BatchResult run_plan(const Plan& plan, Network& network, const c10::IValue& self, const at::Tensor& images,
                     const Asked& asked, const std::function<bool()>& cancelled) {
  at::NoGradGuard no_gradients;
  const Asked there{asked.targets.to(images.device()), asked.against.to(images.device()), asked.given};
  return to_host(plan, run_on_device(plan, network, self, images, there, shape_of(asked), cancelled), images.size(0));
}

}  // namespace sightline
