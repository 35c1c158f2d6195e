#include "engine/interpreter.h"

#include "engine/errors.h"
#include "engine/operations.h"

namespace sightline {

namespace {

at::Tensor widened(const at::Tensor& x) {
  return at::isReducedFloatingType(x.scalar_type()) ? x.to(at::kFloat) : x;
}

// Ranks (-1 for the best class, -2 for the next) to class indices, by each image's own scores.
at::Tensor resolve_targets(const at::Tensor& targets, const at::Tensor& logits) {
  const auto low = targets.min().item<int64_t>();
  if (low >= 0) return targets;
  if (!logits.defined()) throw EngineError("INTERNAL", "A plan without logits cannot rank classes.");
  const auto ranked = std::get<1>(logits.detach().to(at::kFloat).topk(std::min(-low, logits.size(1)), 1)).to(at::kCPU);
  const auto ranks = (-targets - 1).clamp(0);
  return at::where(targets < 0, ranked.gather(1, ranks), targets);
}

// At most so many images go through the model at once in a loop, whatever the memory: between chunks a request can be
// aborted.
constexpr int64_t kMostRowsOnCpu = 32;
constexpr int64_t kMostRowsOnGpu = 256;

class Runner {
 public:
  Runner(const Plan& plan, Network& network, const c10::IValue& self, const at::Tensor& images, const Asked& asked,
         const std::function<bool()>& cancelled)
      : plan_(plan), network_(network), self_(self), images_(images), asked_(asked), cancelled_(cancelled), rows_(images.size(0)) {
    context_.network = &network.info();
    context_.cancelled = &cancelled_;
  }

  BatchResult run() {
    BatchResult result;
    Tensors registers(plan_.block.registers);
    for (const auto& step : plan_.block.steps) {
      if (!step.per_target) execute(step, registers, true, true);
    }
    const int64_t count = asked_.targets.size(1);
    bool is_compared = false;
    if (count > 0) {
      result.targets = resolve_targets(asked_.targets, logits_);
      const auto has_other = asked_.against != kNoClass;
      is_compared = has_other.any().item<bool>();
      result.against = at::full_like(result.targets, -1);
      if (is_compared) {
        const auto others = at::where(has_other, asked_.against, at::zeros_like(asked_.against));
        result.against = at::where(has_other, resolve_targets(others, logits_), result.against);
      }
    }
    std::vector<std::vector<at::Tensor>> collected(plan_.outputs.size());
    for (int64_t t = 0; t < count; ++t) {
      const bool is_last = t == count - 1;
      context_.targets = result.targets.select(1, t).contiguous().to(images_.device());
      if (is_compared) context_.against = result.against.select(1, t).contiguous().to(images_.device());
      for (const auto& step : plan_.block.steps) {
        if (step.per_target) execute(step, registers, is_last, is_last);
      }
      for (size_t i = 0; i < plan_.outputs.size(); ++i) {
        if (plan_.outputs[i].per_target) collected[i].push_back(registers[plan_.outputs[i].value]);
      }
    }
    for (size_t i = 0; i < plan_.outputs.size(); ++i) {
      const auto& output = plan_.outputs[i];
      if (output.per_target && count == 0) {
        throw EngineError("INVALID_OPTION", "The method '" + plan_.method + "' explains a class: name at least one target.");
      }
      auto values = output.per_target ? at::stack(collected[i], 1) : registers[output.value];
      result.outputs.push_back({output.name, to_host(values)});
    }
    result.operators = operators_;
    result.chunk = chunk_;
    return result;
  }

 private:
  // Windowed attention comes as [batch * windows, ...]: split, so that every output is batch first.
  at::Tensor to_host(at::Tensor values) const {
    values = values.detach();
    const auto batch = images_.size(0);
    if (values.size(0) != batch) {
      std::vector<int64_t> sizes{batch, values.size(0) / batch};
      for (int64_t i = 1; i < values.dim(); ++i) sizes.push_back(values.size(i));
      values = values.reshape(sizes);
    }
    if (values.is_floating_point()) values = values.to(at::kFloat);
    // A copy in any case: outputs may share their memory with one another, with the input, or with the weights.
    return values.to(at::kCPU, values.scalar_type(), /*non_blocking=*/false, /*copy=*/true, at::MemoryFormat::Contiguous);
  }

  // `releases_shared`: whether registers that all targets read may go now; `ends_runs`: whether the autograd graphs may.
  void execute(const Step& step, Tensors& registers, bool releases_shared, bool ends_runs) {
    if (cancelled_()) throw EngineError("ABORTED", "The request was aborted.");
    try {
      run_step(step, registers, ends_runs);
    } catch (const EngineError& error) {
      if (error.code() != "INTERNAL") throw;
      throw EngineError("STEP_FAILED", describe(step) + ": " + error.message(), error.details());
    } catch (...) {
      throw translate_current_exception("STEP_FAILED", describe(step));
    }
    for (const int value : step.frees) {
      if (releases_shared || !is_shared(step, value)) registers[value] = at::Tensor();
    }
  }

  // Whether the register was filled before the targets were gone through.
  bool is_shared(const Step& reader, int value) const {
    if (!reader.per_target) return false;
    for (const auto& step : plan_.block.steps) {
      for (const int output : step.outputs) {
        if (output == value) return !step.per_target;
      }
    }
    return true;
  }

  std::string describe(const Step& step) const {
    return plan_.method + " failed in '" + step.op + "'" + (step.where.empty() ? "" : " (" + step.where + ")");
  }

  void run_step(const Step& step, Tensors& registers, bool ends_runs) {
    if (!step.operation->is_control) {
      at::AutoGradMode mode(step.recorded);
      Tensors inputs;
      inputs.reserve(step.inputs.size());
      for (const int input : step.inputs) inputs.push_back(widened(registers[input]));
      auto outputs = step.operation->run(inputs, step.attributes, context_);
      for (size_t i = 0; i < step.outputs.size(); ++i) registers[step.outputs[i]] = std::move(outputs.at(i));
      return;
    }
    if (step.op == "image") {
      registers[step.outputs[0]] = images_;
    } else if (step.op == "constant") {
      registers[step.outputs[0]] = step.constant.to(images_.device());
    } else if (step.op == "given") {
      registers[step.outputs[0]] = asked_.given.at(step.attributes.text("name")).to(images_.device());
    } else if (step.op == "forward") {
      forward(step, registers);
    } else if (step.op == "resume") {
      resume(step, registers);
    } else if (step.op == "gradient") {
      gradient(step, registers, ends_runs);
    } else if (step.op == "iterate") {
      iterate(step, registers);
    } else {
      sample(step, registers);
    }
  }

  static Rule rule_of(const Step& step) {
    if (!step.attributes.has("rule")) return {};
    return {step.attributes.text("rule"), step.attributes.number("linear_gamma"), step.attributes.number("convolution_gamma")};
  }

  const Step& resumed_run(const Step& step) const { return plan_.block.steps.at(step.attributes.integer("run")); }

  // `keeps_graph`: whether gradients are taken with respect to what its inputs were computed from.
  const Program& program_of(const Step& step, bool keeps_graph) {
    const bool is_smooth = step.attributes.has("smooth") && step.attributes.boolean("smooth");
    return network_.program({step.taps, rule_of(step.op == "resume" ? resumed_run(step) : step), step.replaces, is_smooth, keeps_graph});
  }

  void forward(const Step& step, Tensors& registers) {
    at::AutoGradMode mode(step.recorded);
    const auto images = registers[step.inputs[0]].to(images_.scalar_type());
    const Program& program = program_of(step, images.requires_grad());
    operators_ += program.operators();
    if (depth_ == 0) {
      runs_[&step] = images.detach();
      before_.clear();
    }
    auto outputs = program.run(self_, images, images.requires_grad());
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      registers[step.outputs[i]] = outputs[i];
      if (step.outputs[i] == plan_.logits && depth_ == 0) logits_ = outputs[i];
    }
  }

  // A run of the method's own block with values replaced. What lies before them is computed once, however many samples
  // the loop around takes.
  void resume(const Step& step, Tensors& registers) {
    std::vector<at::Tensor> values;
    bool keeps_graph = false;
    for (const int input : step.inputs) {
      values.push_back(registers[input]);
      keeps_graph = keeps_graph || (step.recorded && values.back().requires_grad());
    }
    const Program& program = program_of(step, keeps_graph);
    const auto& images = runs_.at(&resumed_run(step));
    auto& before = before_[&step];
    if (!before) {
      before = program.run_before(self_, images);
      operators_ += program.operators_before();
    }
    operators_ += program.operators();
    at::AutoGradMode mode(step.recorded);
    auto outputs = program.run_behind(self_, *before, images.size(0), values, keeps_graph);
    for (size_t i = 0; i < step.outputs.size(); ++i) registers[step.outputs[i]] = outputs[i];
  }

  void gradient(const Step& step, Tensors& registers, bool ends_runs) {
    at::AutoGradMode mode(true);
    std::vector<at::Tensor> taps;
    for (size_t i = 1; i < step.inputs.size(); ++i) taps.push_back(registers[step.inputs[i]]);
    const auto& score = registers[step.inputs[0]];
    if (!score.requires_grad()) {
      throw EngineError("INTERNAL", "the score does not depend on what its gradient is asked for");
    }
    // The sum over the batch differentiates every image at once: no image's score depends on another.
    const bool is_differentiable = step.attributes.has("differentiable") && step.attributes.boolean("differentiable");
    const bool keeps_graph = is_differentiable || !(step.last_gradient && ends_runs);
    const auto gradients =
        torch::autograd::grad({score.sum()}, taps, {}, keeps_graph, is_differentiable, /*allow_unused=*/true);
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      // A tap that the score does not depend on has a gradient of zero, such as patches after the last attention.
      const auto gradient = gradients[i].defined() ? gradients[i] : at::zeros_like(taps[i]).detach();
      registers[step.outputs[i]] = is_differentiable ? gradient : gradient.detach();
    }
  }

  Tensors run_block(const Block& block, Tensors parameters) {
    Tensors registers(block.registers);
    for (size_t i = 0; i < parameters.size(); ++i) registers[block.parameters[i]] = std::move(parameters[i]);
    ++depth_;
    for (const auto& step : block.steps) execute(step, registers, true, true);
    --depth_;
    Tensors results;
    for (const int value : block.results) results.push_back(registers[value]);
    return results;
  }

  // x0, then x(i+1) = body(x(i), i, captures...), `count` times.
  void iterate(const Step& step, Tensors& registers) {
    const auto count = step.attributes.integer("count");
    at::Tensor state = registers[step.inputs[0]];
    for (int64_t i = 0; i < count; ++i) {
      Tensors parameters{state, at::full({state.size(0)}, i, state.options().dtype(at::kLong))};
      for (size_t c = 1; c < step.inputs.size(); ++c) parameters.push_back(registers[step.inputs[c]]);
      state = run_block(*step.body, std::move(parameters)).at(0).detach();
    }
    registers[step.outputs[0]] = state;
  }

  // What one row of a block's batch takes: the runs of the model follow one another, their images add up.
  int64_t bytes_per_row(const Block& block) {
    int64_t bytes = 0;
    for (const auto& step : block.steps) {
      if (step.op == "forward" || step.op == "resume") bytes = std::max(bytes, program_of(step, false).activation_bytes());
      if (step.body) bytes = std::max(bytes, bytes_per_row(*step.body));
    }
    return bytes + 4 * images_.nbytes() / images_.size(0);
  }

  // `accumulate` sums, `concatenate` stacks what the body says of samples 0 .. count-1. Samples are folded into the
  // batch, as many at a time as the memory budget allows.
  void sample(const Step& step, Tensors& registers) {
    const auto most = step.attributes.integer("count");
    const bool is_limited = step.attributes.has("limited") && step.attributes.boolean("limited");
    const size_t captures = step.inputs.size() - (is_limited ? 1 : 0);
    const auto limit = is_limited ? registers[step.inputs.back()] : at::Tensor();
    const auto count = is_limited ? std::clamp<int64_t>(std::llround(limit.max().item<double>()), 1, most) : most;
    const auto batch = rows_;
    const auto most_rows = images_.is_cuda() ? kMostRowsOnGpu : kMostRowsOnCpu;
    const auto affordable = std::min(plan_.memory / bytes_per_row(*step.body), most_rows) / batch;
    const auto chunk = network_.info().can_batch ? std::clamp<int64_t>(affordable, 1, count) : 1;
    chunk_ = std::max(chunk_, chunk);
    const auto is_batched = step.attributes.numbers("batched");
    const auto outer_targets = context_.targets, outer_against = context_.against;
    std::vector<Tensors> parts(step.outputs.size());
    for (int64_t start = 0; start < count; start += chunk) {
      const auto size = std::min(chunk, count - start);
      rows_ = batch * size;
      Tensors parameters;
      for (size_t i = 0; i < captures; ++i) {
        const auto& value = registers[step.inputs[i]];
        parameters.push_back(is_batched[i] != 0 ? value.repeat_interleave(size, 0) : value);
      }
      const auto long_options = images_.options().dtype(at::kLong);
      parameters.push_back(at::arange(start, start + size, long_options).repeat(batch));
      if (outer_targets.defined()) context_.targets = outer_targets.repeat_interleave(size, 0);
      if (outer_against.defined()) context_.against = outer_against.repeat_interleave(size, 0);
      auto results = run_block(*step.body, std::move(parameters));
      for (size_t i = 0; i < results.size(); ++i) {
        auto values = results[i].detach().unflatten(0, {batch, size});
        if (is_limited) {
          const auto numbers = at::arange(start, start + size, limit.options());
          const auto counted = (numbers.unsqueeze(0) < limit.unsqueeze(1));
          std::vector<int64_t> sizes(values.dim(), 1);
          sizes[0] = batch;
          sizes[1] = size;
          values = at::where(counted.view(sizes), values, at::zeros_like(values));
        }
        if (step.op == "concatenate") {
          parts[i].push_back(values);
        } else if (parts[i].empty()) {
          parts[i].push_back(values.sum(1));
        } else {
          parts[i][0] += values.sum(1);
        }
      }
    }
    rows_ = batch;
    context_.targets = outer_targets;
    context_.against = outer_against;
    for (size_t i = 0; i < parts.size(); ++i) {
      if (step.op == "concatenate" && count < most) {
        auto sizes = parts[i][0].sizes().vec();
        sizes[1] = most - count;
        parts[i].push_back(at::zeros(sizes, parts[i][0].options()));
      }
      registers[step.outputs[i]] = step.op == "concatenate" ? at::cat(parts[i], 1) : parts[i][0];
    }
  }

  const Plan& plan_;
  Network& network_;
  const c10::IValue& self_;
  const at::Tensor& images_;
  const Asked& asked_;
  const std::function<bool()>& cancelled_;
  int64_t rows_;  // of the batch at hand: images, times samples in a loop
  std::unordered_map<const Step*, at::Tensor> runs_;                                // the images of each run
  std::unordered_map<const Step*, std::optional<std::vector<at::Tensor>>> before_;  // of each `resume`
  StepContext context_;
  at::Tensor logits_;
  int64_t operators_ = 0;
  int64_t chunk_ = 0;
  int depth_ = 0;
};

}  // namespace

BatchResult run_plan(const Plan& plan, Network& network, const c10::IValue& self, const at::Tensor& images,
                     const Asked& asked, const std::function<bool()>& cancelled) {
  at::NoGradGuard no_gradients;
  return Runner(plan, network, self, images, asked, cancelled).run();
}

}  // namespace sightline
