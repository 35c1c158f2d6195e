// One run of a plan on a batch: its steps in their order, and the values while they live.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/steps/interpreter.h"
#include "engine/steps/operations.h"

namespace sightline {

// The values of a block while it runs.
struct Frame {
  Tensors shared;            // by register
  std::vector<Tensors> own;  // by target, then by register: what there is one of for each target
};

class Runner {
 public:
  Runner(const Plan& plan, Network& network, const c10::IValue& self, const at::Tensor& images, const Asked& asked,
         const TargetShape& shape, const std::function<bool()>& cancelled)
      : plan_(plan),
        network_(network),
        self_(self),
        images_(images),
        asked_(asked),
        shape_(shape),
        cancelled_(cancelled),
        rows_(images.size(0)) {
    context_.network = &network.info();
    context_.cancelled = &cancelled_;
    context_.twins = &twins_;
  }
  DeviceResult run();

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

  void run_shared(const Block& block, Frame& frame);
  // Target by target, so that the values of one are let go before those of the next are made; a loop over samples runs
  // once for all targets, whose samples then share what does not depend on the target: the forward pass.
  void run_per_target(const Block& block, Frame& frame);

  // `is_last`: whether no other target's turn comes after this one's.
  void execute(const Block& block, const Step& step, Frame& frame, int64_t target, bool is_last);

  std::string describe(const Step& step) const {
    return plan_.method + " failed in '" + step.op + "'" + (step.where.empty() ? "" : " (" + step.where + ")");
  }

  void run_step(const Block& block, const Step& step, Frame& frame, int64_t target, bool is_last);
  Tensors control(const Step& step, const Tensors& inputs, int64_t target, bool is_last);

  static Rule rule_of(const Step& step) {
    if (!step.attributes.has("rule")) return {};
    return {step.attributes.text("rule"), step.attributes.number("linear_gamma"),
            step.attributes.number("convolution_gamma")};
  }
  const Step& resumed_run(const Step& step) const { return plan_.block.steps.at(step.attributes.integer("run")); }

  // `keeps_graph`: whether gradients are taken with respect to what its inputs were computed from.
  const Program& program_of(const Step& step, bool keeps_graph);
  Tensors forward(const Step& step, const Tensors& inputs, int64_t target);
  // A run of the method's own block with values replaced. What lies before them is computed once, however many samples
  // the loop around takes.
  Tensors resume(const Step& step, const Tensors& values, int64_t target);
  Tensors gradient(const Step& step, const Tensors& inputs, bool is_last);

  // Whether there is anything to run for each target in the block is the block's own affair.
  void run_block(const Block& block, Frame& frame);
  // x0, then x(i+1) = body(x(i), i, captures...), `count` times.
  at::Tensor iterate(const Step& step, const Tensors& inputs, int64_t target);

  // What one row of a block's batch takes: the runs of the model follow one another, their images add up.
  int64_t bytes_per_row(const Block& block);

  // `accumulate` sums, `concatenate` stacks what the body says of samples 0 .. count-1. Samples are folded into the
  // batch, as many at a time as the memory budget allows.
  void sample(const Block& block, const Step& step, Frame& frame);

  const Plan& plan_;
  Network& network_;
  const c10::IValue& self_;
  const at::Tensor& images_;
  const Asked& asked_;
  TargetShape shape_;
  const std::function<bool()>& cancelled_;
  int64_t rows_;               // of the batch at hand: images, times samples in a loop
  Tensors targets_, against_;  // of each target: [rows]; `against_` undefined where no target is compared
  std::map<std::pair<const Step*, int64_t>, at::Tensor> runs_;                                // the images of each run
  std::map<std::pair<const Step*, int64_t>, std::optional<std::vector<at::Tensor>>> before_;  // of each `resume`
  HostTwins twins_;
  StepContext context_;
  at::Tensor logits_;
  int64_t operators_ = 0;
  int64_t chunk_ = 0;
  int depth_ = 0;
};

}  // namespace sightline
