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

class Runner {
 public:
  Runner(const Plan& plan, Network& network, const c10::IValue& self, const at::Tensor& images,
         const std::function<bool()>& cancelled)
      : plan_(plan), network_(network), self_(self), images_(images), cancelled_(cancelled) {
    context_.network = &network.info();
  }

  BatchResult run(const at::Tensor& asked) {
    BatchResult result;
    Tensors registers(plan_.block.registers);
    for (const auto& step : plan_.block.steps) {
      if (!step.per_target) execute(step, registers, true, true);
    }
    const int64_t count = asked.size(1);
    if (count > 0) result.targets = resolve_targets(asked, logits_);
    std::vector<std::vector<at::Tensor>> collected(plan_.outputs.size());
    for (int64_t t = 0; t < count; ++t) {
      const bool is_last = t == count - 1;
      context_.targets = result.targets.select(1, t).contiguous().to(images_.device());
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
    } else if (step.op == "forward") {
      forward(step, registers);
    } else if (step.op == "gradient") {
      gradient(step, registers, ends_runs);
    } else if (step.op == "iterate") {
      iterate(step, registers);
    } else {
      sample(step, registers);
    }
  }

  void forward(const Step& step, Tensors& registers) {
    const Program& program = network_.program(step.taps);
    operators_ += program.operators();
    auto outputs = program.run(self_, registers[step.inputs[0]].to(images_.scalar_type()));
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      registers[step.outputs[i]] = outputs[i];
      if (step.outputs[i] == plan_.logits && depth_ == 0) logits_ = outputs[i];
    }
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
    const bool keeps_graph = !(step.last_gradient && ends_runs);
    const auto gradients = torch::autograd::grad({score.sum()}, taps, {}, keeps_graph, false, /*allow_unused=*/true);
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      // A tap that the score does not depend on has a gradient of zero, such as patches after the last attention.
      registers[step.outputs[i]] = gradients[i].defined() ? gradients[i].detach() : at::zeros_like(taps[i]).detach();
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
      state = run_block(*step.body, std::move(parameters)).at(0);
    }
    registers[step.outputs[0]] = state;
  }

  // `accumulate` sums, `concatenate` stacks what the body says of samples 0 .. count-1. Samples are folded into the
  // batch, as many at a time as the memory budget allows.
  void sample(const Step& step, Tensors& registers) {
    const auto count = step.attributes.integer("count");
    const auto batch = images_.size(0);
    const auto per_sample = std::max<int64_t>(1, network_.info().activation_bytes * batch);
    const auto chunk = network_.info().can_batch ? std::clamp<int64_t>(plan_.memory / per_sample, 1, count) : 1;
    chunk_ = std::max(chunk_, chunk);
    const auto is_batched = step.attributes.numbers("batched");
    const auto outer_targets = context_.targets;
    std::vector<Tensors> parts(step.outputs.size());
    for (int64_t start = 0; start < count; start += chunk) {
      const auto size = std::min(chunk, count - start);
      Tensors parameters;
      for (size_t i = 0; i < step.inputs.size(); ++i) {
        const auto& value = registers[step.inputs[i]];
        parameters.push_back(is_batched[i] != 0 ? value.repeat_interleave(size, 0) : value);
      }
      const auto long_options = images_.options().dtype(at::kLong);
      parameters.push_back(at::arange(start, start + size, long_options).repeat(batch));
      if (outer_targets.defined()) context_.targets = outer_targets.repeat_interleave(size, 0);
      auto results = run_block(*step.body, std::move(parameters));
      for (size_t i = 0; i < results.size(); ++i) {
        auto values = results[i].detach().unflatten(0, {batch, size});
        if (step.op == "concatenate") {
          parts[i].push_back(values);
        } else if (parts[i].empty()) {
          parts[i].push_back(values.sum(1));
        } else {
          parts[i][0] += values.sum(1);
        }
      }
    }
    context_.targets = outer_targets;
    for (size_t i = 0; i < parts.size(); ++i) {
      registers[step.outputs[i]] = step.op == "concatenate" ? at::cat(parts[i], 1) : parts[i][0];
    }
  }

  const Plan& plan_;
  Network& network_;
  const c10::IValue& self_;
  const at::Tensor& images_;
  const std::function<bool()>& cancelled_;
  StepContext context_;
  at::Tensor logits_;
  int64_t operators_ = 0;
  int64_t chunk_ = 0;
  int depth_ = 0;
};

}  // namespace

BatchResult run_plan(const Plan& plan, Network& network, const c10::IValue& self, const at::Tensor& images,
                     const at::Tensor& targets, const std::function<bool()>& cancelled) {
  at::NoGradGuard no_gradients;
  return Runner(plan, network, self, images, cancelled).run(targets);
}

}  // namespace sightline
