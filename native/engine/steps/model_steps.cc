// The steps that run the model, and those that differentiate it.
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "engine/cancel_points.h"
#include "engine/errors.h"
#include "engine/steps/runner.h"

namespace sightline {

namespace {

// What a quantised model computes is shown as the numbers that it stands for.
Tensors dequantized(Tensors values) {
  for (auto& value : values) {
    if (value.is_quantized()) value = value.dequantize();
  }
  return values;
}

}  // namespace

const Program& Runner::program_of(const Step& step, bool keeps_graph) {
  const bool is_smooth = step.attributes.has("smooth") && step.attributes.boolean("smooth");
  return network_.program({step.taps, rule_of(step.operation->control == Control::Resume ? resumed_run(step) : step),
                           step.replaces, is_smooth, keeps_graph});
}

Tensors Runner::forward(const Step& step, const Tensors& inputs, int64_t target) {
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

Tensors Runner::resume(const Step& step, const Tensors& values, int64_t target) {
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

Tensors Runner::gradient(const Step& step, const Tensors& inputs, bool is_last) {
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
  auto gradients =
      torch::autograd::grad({score.sum()}, taps, {}, keeps_graph, is_differentiable, /*allow_unused=*/true);
  for (size_t i = 0; i < gradients.size(); ++i) {
    // A tap that the score does not depend on has a gradient of zero, such as patches after the last attention.
    if (!gradients[i].defined()) gradients[i] = at::zeros_like(taps[i]).detach();
    if (!is_differentiable) gradients[i] = gradients[i].detach();
  }
  return gradients;
}

}  // namespace sightline
