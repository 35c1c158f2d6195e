// The steps' vocabulary: what lib/symbolic can record, by name.
#pragma once

#include <limits>

#include "engine/programs/network.h"
#include "engine/steps/host_twins.h"
#include "engine/steps/plan.h"

namespace sightline {

// What a step may need besides its inputs.
struct StepContext {
  const NetworkInfo* network = nullptr;
  at::Tensor targets;  // [batch] int64: the class asked for, of the target at hand
  at::Tensor
      against;  // [batch] int64: the class that it is compared with, -1 for none; undefined where no target has one
  const std::function<bool()>* cancelled = nullptr;
  HostTwins* twins = nullptr;
};

using Tensors = std::vector<at::Tensor>;

// What the interpreter does itself, rather than call `run`.
enum class Control { None, Image, Given, Constant, Forward, Resume, Gradient, Accumulate, Concatenate, Iterate };

// How many values a step reads or makes.
struct Count {
  static constexpr int kAny = std::numeric_limits<int>::max();
  int least = 1;
  int most = 1;
  bool holds(size_t count) const { return count >= static_cast<size_t>(least) && count <= static_cast<size_t>(most); }
};

struct Operation {
  // Inputs are float32 (reduced precision was upcast), outputs as many as the step records.
  std::function<Tensors(const Tensors&, const Attributes&, const StepContext&)> run;
  Count inputs;
  Count outputs;
  bool reads_target = false;
  // Whether it looks at values on the CPU, for which a GPU is waited for.
  bool reads_host = false;
  Control control = Control::None;
};

using Operations = std::map<std::string, Operation>;

// Every operation by its name. lib/engine/operations.ts has the same names, counts and kinds.
const Operations& operations();

// The operation of that name, or null.
const Operation* find_operation(const std::string& name);

// The parts of the table, a file each.
Operations elementwise_operations();
Operations axis_operations();
Operations image_operations();
Operations model_operations();

}  // namespace sightline
