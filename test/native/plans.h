// Plans by hand, as lib/symbolic would record them.
#pragma once

#include <ATen/ops/tensor.h>

#include "engine/model.h"
#include "engine/steps/interpreter.h"
#include "engine/steps/plan.h"

namespace sightline::test {

// Records steps on registers of one block.
class Recorder {
 public:
  explicit Recorder(std::string method = "test") { plan_.method = std::move(method); }

  Block& block() { return *blocks_.back(); }
  // Opens a loop's body; steps go there until `end`.
  void begin() {
    bodies_.push_back(std::make_shared<Block>());
    blocks_.push_back(bodies_.back().get());
  }
  std::shared_ptr<Block> end(std::vector<int> results) {
    auto body = bodies_.back();
    bodies_.pop_back();
    blocks_.pop_back();
    body->results = std::move(results);
    return body;
  }

  int value() { return block().registers++; }
  int parameter() {
    const int result = value();
    block().parameters.push_back(result);
    return result;
  }

  Step& add(const std::string& op, std::vector<int> inputs, int outputs = 1) {
    Step step;
    step.op = op;
    step.inputs = std::move(inputs);
    for (int i = 0; i < outputs; ++i) step.outputs.push_back(value());
    step.where = "method.ts:" + std::to_string(block().steps.size() + 1) + ":1";
    block().steps.push_back(std::move(step));
    return block().steps.back();
  }
  int step(const std::string& op, std::vector<int> inputs,
           std::vector<std::pair<std::string, Attribute>> settings = {}) {
    Step& added = add(op, std::move(inputs));
    for (auto& [name, setting] : settings) added.attributes.set(name, std::move(setting));
    return added.outputs[0];
  }
  int image() { return step("image", {}); }
  std::vector<int> forward(int image, std::vector<TapRequest> taps) {
    Step& added = add("forward", {image}, static_cast<int>(taps.size()));
    added.taps = std::move(taps);
    return added.outputs;
  }
  std::vector<int> gradient(int score, std::vector<int> of) {
    const int count = static_cast<int>(of.size());
    of.insert(of.begin(), score);
    return add("gradient", std::move(of), count).outputs;
  }
  int loop(const std::string& op, std::vector<int> inputs, std::shared_ptr<Block> body, double count,
           std::vector<double> batched = {}) {
    Step& added = add(op, std::move(inputs));
    added.body = std::move(body);
    added.attributes.set("count", count);
    added.attributes.set("batched", std::move(batched));
    return added.outputs[0];
  }
  void output(const std::string& name, int value) { plan_.outputs.push_back({name, value}); }

  std::shared_ptr<Plan> plan(int logits = -1, int64_t memory = 1LL << 30) {
    auto plan = std::make_shared<Plan>(plan_);
    plan->block = root_;
    plan->logits = logits;
    plan->memory = memory;
    plan->schedule();
    return plan;
  }

 private:
  Plan plan_;
  Block root_;
  std::vector<Block*> blocks_{&root_};
  std::vector<std::shared_ptr<Block>> bodies_;
};

inline const TapRequest kLogitsTap{{Tap::Kind::Logits, {}, -1}, false};
inline const TapRequest kImageTap{{Tap::Kind::Image, {}, -1}, false};

inline at::Tensor targets_of(std::vector<std::vector<int64_t>> rows) {
  const auto columns = static_cast<int64_t>(rows[0].size());
  std::vector<int64_t> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  return at::tensor(flat, at::kLong).view({static_cast<int64_t>(rows.size()), columns});
}

}  // namespace sightline::test
