// The steps with a body: samples folded into the batch, and iterations.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "engine/errors.h"
#include "engine/steps/pause_points.h"
#include "engine/steps/runner.h"

namespace sightline {

namespace {

// At most so many images go through the model at once in a loop, whatever the memory: between chunks a request can be
// aborted.
constexpr int64_t kMostRowsOnCpu = 32;
constexpr int64_t kMostRowsOnGpu = 256;
// On a processor chunks whose activations leave its caches are slower: by 32 images on two threads EfficientNet-Lite0
// takes 25 ms an image and by 8 images 14, ResNet50 56 and 47, and a small ViT no less.
constexpr int64_t kCachedBytesOfThread = int64_t{32} << 20;
constexpr int64_t kFewestRowsOnCpu = 8;

int64_t most_rows_on_cpu(int64_t bytes_per_row) {
  return std::clamp(kCachedBytesOfThread * at::get_num_threads() / bytes_per_row, kFewestRowsOnCpu, kMostRowsOnCpu);
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

}  // namespace

at::Tensor Runner::iterate(const Step& step, const Tensors& inputs, int64_t target) {
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
    if (i > 0) pause_point();
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

int64_t Runner::bytes_per_row(const Block& block) {
  int64_t bytes = 0;
  for (const auto& step : block.steps) {
    if (runs_the_model(step)) bytes = std::max(bytes, program_of(step, false).activation_bytes());
    if (step.body) bytes = std::max(bytes, bytes_per_row(*step.body));
  }
  // Of what there is one for each target, such as gradients of the image, as well as of masks and images.
  return bytes + 4 * std::max<int64_t>(1, shape_.count) * static_cast<int64_t>(images_.nbytes()) / images_.size(0);
}

void Runner::sample(const Block& block, const Step& step, Frame& frame) {
  const Block& body = *step.body;
  const bool is_sum = step.operation->control == Control::Accumulate;
  const auto most = step.attributes.integer("count");
  const bool is_limited = step.attributes.has("limited") && step.attributes.boolean("limited");
  const size_t captures = step.inputs.size() - (is_limited ? 1 : 0);
  const auto limit = is_limited ? frame.shared[step.inputs.back()] : at::Tensor();
  if (is_limited && !limit.defined()) throw EngineError("INTERNAL", "a loop's limit must not depend on the target");
  const auto count =
      is_limited ? std::clamp<int64_t>(std::llround(twins_.on_host(limit).max().item<double>()), 1, most) : most;
  const auto batch = rows_;
  const auto bytes = bytes_per_row(body);
  const auto most_rows = images_.is_cuda() ? kMostRowsOnGpu : most_rows_on_cpu(bytes);
  const auto affordable = std::min(plan_.memory / bytes, most_rows) / batch;
  const auto chunk = network_.info().can_batch ? std::clamp<int64_t>(affordable, 1, count) : 1;
  chunk_ = std::max(chunk_, chunk);
  const auto is_batched = step.attributes.numbers("batched");
  const auto outer_targets = targets_, outer_against = against_;
  // By output, then by target.
  const size_t ways = step.per_target ? static_cast<size_t>(shape_.count) : 1;
  std::vector<std::vector<Collected>> collected(step.outputs.size(), std::vector<Collected>(ways));
  for (int64_t start = 0; start < count; start += chunk) {
    if (start > 0) pause_point();
    const auto size = std::min(chunk, count - start);
    rows_ = batch * size;
    Frame inner = frame_of(body);
    const auto known = twins_.size();
    const auto repeated = [&](const at::Tensor& value, size_t i) {
      if (is_batched[i] == 0) return value;
      const auto there = value.repeat_interleave(size, 0);
      if (const auto* here = twins_.find(value)) twins_.add(there, here->repeat_interleave(size, 0));
      return there;
    };
    for (size_t i = 0; i < captures; ++i) {
      const int parameter = body.parameters[i];
      if (!body.per_target[parameter]) {
        inner.shared[parameter] = repeated(frame.shared[step.inputs[i]], i);
        continue;
      }
      for (int64_t t = 0; t < shape_.count; ++t) inner.own[t][parameter] = repeated(frame.own[t][step.inputs[i]], i);
    }
    const auto numbers = at::arange(start, start + size, at::kLong).repeat(batch);
    const auto there = at::arange(start, start + size, images_.options().dtype(at::kLong)).repeat(batch);
    twins_.add(there, numbers);
    inner.shared[body.parameters[captures]] = there;
    for (int64_t t = 0; t < static_cast<int64_t>(targets_.size()); ++t) {
      targets_[t] = outer_targets[t].repeat_interleave(size, 0);
      if (against_[t].defined()) against_[t] = outer_against[t].repeat_interleave(size, 0);
    }
    run_block(body, inner);
    twins_.shrink(known);
    for (size_t i = 0; i < body.results.size(); ++i) {
      for (size_t t = 0; t < ways; ++t) {
        auto values =
            at_register(body, inner, body.results[i], static_cast<int64_t>(t)).detach().unflatten(0, {batch, size});
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

}  // namespace sightline
