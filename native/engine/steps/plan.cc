#include "engine/steps/plan.h"

#include <algorithm>
#include <unordered_set>

#include "engine/errors.h"
#include "engine/steps/operations.h"

namespace sightline {

namespace {

template <typename T>
const T& get(const std::map<std::string, Attribute>& values, const std::string& name) {
  const auto found = values.find(name);
  if (found == values.end() || !std::holds_alternative<T>(found->second)) {
    throw EngineError("INTERNAL", "A step lacks its setting '" + name + "'.");
  }
  return std::get<T>(found->second);
}

// Whether a block asks for the target anywhere.
bool reads_target(const Block& block) {
  for (const auto& step : block.steps) {
    if (step.per_target || (step.body && reads_target(*step.body))) return true;
  }
  return false;
}

void check_registers(const Block& block) {
  const auto check = [&](int value) {
    if (value < 0 || value >= block.registers) {
      throw EngineError("INTERNAL", "A step names register " + std::to_string(value) + " of " +
                                        std::to_string(block.registers) + ".");
    }
  };
  for (const auto& step : block.steps) {
    for (const int value : step.inputs) check(value);
    for (const int value : step.outputs) check(value);
  }
  for (const int value : block.parameters) check(value);
  for (const int value : block.results) check(value);
}

// Steps between taps or variables and the scalar that is differentiated must record their gradients.
void find_recorded(Block& block) {
  std::vector<bool> needed(block.registers, false);
  for (auto step = block.steps.rbegin(); step != block.steps.rend(); ++step) {
    if (step->operation->control == Control::Gradient) {
      needed[step->inputs[0]] = true;
      continue;
    }
    bool recorded = false;
    for (const int output : step->outputs) recorded = recorded || needed[output];
    if (!recorded) continue;
    step->recorded = true;
    for (const int input : step->inputs) needed[input] = true;
  }
}

// The autograd graph of a run is let go by the last gradient taken of it.
void find_last_gradients(const std::vector<Step*>& order) {
  std::unordered_map<int, const Step*> run_of;  // register -> the forward step that it came from
  std::unordered_map<const Step*, Step*> last;
  for (Step* step : order) {
    if (runs_the_model(*step)) {
      for (const int output : step->outputs) run_of[output] = step;
    } else if (step->operation->control == Control::Gradient) {
      last[run_of[step->inputs[1]]] = step;
    }
  }
  for (Step* step : order) {
    if (step->operation->control != Control::Gradient) continue;
    step->last_gradient = last[run_of[step->inputs[1]]] == step;
  }
}

// Which of a loop's parameters there is one of for each target.
std::vector<bool> parameters_per_target(const Step& step, const std::vector<bool>& per_target) {
  std::vector<bool> found(step.body->parameters.size(), false);
  if (is_loop_over_samples(step)) {
    // Captures, then the sample's number; the limit has no parameter.
    for (size_t i = 0; i < step.inputs.size() && i < found.size(); ++i) found[i] = per_target[step.inputs[i]];
    found.back() = false;
    return found;
  }
  // The state of an iteration is what its body made of it, so that one value per target makes all of them.
  bool any = reads_target(*step.body);
  for (const int input : step.inputs) any = any || per_target[input];
  found.assign(found.size(), any);
  return found;
}

void schedule_block(Block& block, const std::vector<int>& kept, const std::vector<bool>& parameters) {
  check_registers(block);
  block.per_target.assign(block.registers, false);
  for (size_t i = 0; i < parameters.size(); ++i) block.per_target[block.parameters[i]] = parameters[i];
  for (auto& step : block.steps) {
    step.operation = find_operation(step.op);
    if (step.operation == nullptr) throw EngineError("INTERNAL", "There is no step '" + step.op + "'.");
    if (!step.operation->inputs.holds(step.inputs.size()) || !step.operation->outputs.holds(step.outputs.size())) {
      throw EngineError("INTERNAL", "A step '" + step.op + "' reads " + std::to_string(step.inputs.size()) +
                                        " values and makes " + std::to_string(step.outputs.size()) +
                                        ", which it cannot.");
    }
    step.per_target = step.operation->reads_target;
    for (const int input : step.inputs) step.per_target = step.per_target || block.per_target[input];
    if (step.body) {
      schedule_block(*step.body, step.body->results, parameters_per_target(step, block.per_target));
      step.per_target = step.per_target || reads_target(*step.body);
    }
    for (const int output : step.outputs) block.per_target[output] = step.per_target;
  }
  find_recorded(block);

  // What does not depend on the target runs first, then the rest for each target, each in the recorded order.
  std::vector<Step*> order;
  for (const bool per_target : {false, true}) {
    for (auto& step : block.steps) {
      if (step.per_target == per_target) order.push_back(&step);
    }
  }
  find_last_gradients(order);
  std::unordered_map<int, Step*> last_reader;
  for (Step* step : order) {
    for (const int output : step->outputs) last_reader[output] = step;
    for (const int input : step->inputs) last_reader[input] = step;
  }
  const std::unordered_set<int> pinned(kept.begin(), kept.end());
  for (const auto& [value, step] : last_reader) {
    if (pinned.count(value) == 0) step->frees.push_back(value);
  }
}

// Held below 2^53 at each step, so that nested counts cannot overflow.
int64_t cost_of(const Block& block) {
  constexpr int64_t kMost = int64_t{1} << 53;
  int64_t cost = 0;
  for (const auto& step : block.steps) {
    int64_t each = runs_the_model(step) ? 1 : 0;
    if (step.body) {
      const auto rounds = std::clamp<int64_t>(step.attributes.integer("count"), 1, kMost);
      const auto body = std::max<int64_t>(1, cost_of(*step.body));
      each = body > kMost / rounds ? kMost : rounds * body;
    }
    cost = std::min(kMost, cost + each);
  }
  return cost;
}

bool stays_on_device(const Block& block) {
  for (const auto& step : block.steps) {
    if (step.body || step.operation->reads_host) return false;
  }
  return true;
}

}  // namespace

bool runs_the_model(const Step& step) {
  return step.operation->control == Control::Forward || step.operation->control == Control::Resume;
}

bool is_loop_over_samples(const Step& step) {
  return step.operation->control == Control::Accumulate || step.operation->control == Control::Concatenate;
}

bool Attributes::boolean(const std::string& name) const { return get<bool>(values_, name); }
double Attributes::number(const std::string& name) const { return get<double>(values_, name); }
int64_t Attributes::integer(const std::string& name) const { return static_cast<int64_t>(number(name)); }
const std::string& Attributes::text(const std::string& name) const { return get<std::string>(values_, name); }
std::vector<double> Attributes::numbers(const std::string& name) const {
  return get<std::vector<double>>(values_, name);
}

std::vector<int64_t> Attributes::integers(const std::string& name) const {
  const auto numbers = get<std::vector<double>>(values_, name);
  return {numbers.begin(), numbers.end()};
}

void Plan::schedule() {
  std::vector<int> kept;
  for (const auto& output : outputs) kept.push_back(output.value);
  schedule_block(block, kept, {});
  is_free_of_host = stays_on_device(block);
  cost = cost_of(block);
  for (auto& output : outputs) {
    if (output.value < 0 || output.value >= block.registers)
      throw EngineError("INTERNAL", "An output names no register.");
    output.per_target = block.per_target[output.value];
  }
}

}  // namespace sightline
