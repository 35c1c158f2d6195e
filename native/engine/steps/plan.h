// A traced method as native code runs it: a flat list of steps on registers.
#pragma once

#include <variant>

#include "engine/programs/network.h"

namespace sightline {

using Attribute = std::variant<bool, double, std::string, std::vector<double>>;

// A step's settings by name. The getters throw EngineError INTERNAL where a setting is missing or of another type,
// which only a defect of the recorder can cause.
class Attributes {
 public:
  void set(const std::string& name, Attribute value) { values_[name] = std::move(value); }
  bool has(const std::string& name) const { return values_.count(name) != 0; }
  bool boolean(const std::string& name) const;
  double number(const std::string& name) const;
  int64_t integer(const std::string& name) const;
  const std::string& text(const std::string& name) const;
  std::vector<int64_t> integers(const std::string& name) const;
  std::vector<double> numbers(const std::string& name) const;

 private:
  std::map<std::string, Attribute> values_;
};

struct Block;
struct Operation;

struct Step {
  std::string op;
  std::vector<int> inputs;
  std::vector<int> outputs;
  Attributes attributes;
  std::vector<TapRequest> taps;  // ops "forward" and "resume"
  std::vector<Tap> replaces;     // op "resume": one for each input
  std::shared_ptr<Block> body;   // loops
  at::Tensor constant;           // op "constant"
  // The constant where it is used, by device number + 1. Each device's own thread fills in its own.
  mutable std::array<at::Tensor, 65> constant_on_device;
  std::string where;  // "file:line:column" in which the method asked for it

  // Filled in by Plan.
  const Operation* operation = nullptr;
  bool per_target = false;     // runs once for each target; a loop runs once for all, and in it what is per target
  bool recorded = false;       // a gradient is taken through it
  bool last_gradient = false;  // nothing takes a gradient of the same run after it
  std::vector<int> frees;      // registers that nobody reads after this step
};

// Of scheduled steps.
bool runs_the_model(const Step& step);
bool is_loop_over_samples(const Step& step);

// Registers are numbered from 0. `parameters` are filled in by whoever runs the block.
struct Block {
  std::vector<Step> steps;
  int registers = 0;
  std::vector<int> parameters;
  std::vector<int> results;
  std::vector<bool> per_target;  // by register: whether there is one for each target. Filled in by Plan.
};

struct PlanOutput {
  std::string name;
  int value;  // register
  bool per_target = false;
};

// A method's steps, checked and scheduled once, run for many batches.
struct Plan {
  std::string method;
  Block block;
  std::vector<PlanOutput> outputs;
  std::string output;          // of the model, the one that is explained; empty for the usual one
  int logits = -1;             // the register by whose values "top 1" and its like are resolved; -1 without targets
  int64_t memory = 1LL << 30;  // bytes that the chunks of a loop may take

  // How often it runs the model for each image, samples of loops counted; a loop's round counts at least once. What a run
  // takes for several targets besides is not in it. Filled in by `schedule`.
  int64_t cost = 0;
  // Whether it never waits for the device while it runs, so that a CUDA graph can take it down. Filled in by `schedule`.
  bool is_free_of_host = false;

  // Resolves operations, finds what runs per target, under gradients, and where registers end.
  void schedule();
};

}  // namespace sightline
