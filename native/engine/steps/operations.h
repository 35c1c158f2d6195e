// The steps' vocabulary: what lib/symbolic can record, by name.
#pragma once

#include "engine/programs/network.h"
#include "engine/steps/plan.h"

namespace sightline {

// What a step may need besides its inputs.
struct StepContext {
  const NetworkInfo* network = nullptr;
  at::Tensor targets;  // [batch] int64: the class asked for, of the target at hand
  at::Tensor against;  // [batch] int64: the class that it is compared with, -1 for none; undefined where no target has one
  const std::function<bool()>* cancelled = nullptr;
};

using Tensors = std::vector<at::Tensor>;

struct Operation {
  // Inputs are float32 (reduced precision was widened), outputs as many as the step records.
  std::function<Tensors(const Tensors&, const Attributes&, const StepContext&)> run;
  bool reads_target = false;
  // Run by the interpreter itself: forward, gradient, constant and the loops.
  bool is_control = false;
  // Whether it looks at values on the CPU, for which a GPU is waited for.
  bool reads_host = false;
};

// The operation of that name, or null.
const Operation* find_operation(const std::string& name);

}  // namespace sightline
