// What a program gives an operator, as values of a graph.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <stdexcept>
#include <string>
#include <unordered_map>

#include "engine/exported_program.h"

namespace sightline {

// Ends the sentence "... is given ...".
struct ArgumentFault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using ProgramValues = std::unordered_map<std::string, torch::jit::Value*>;

// The argument as a value of the type that the operator's schema asks for; constants and lists are put into the graph
// where it stands. Throws ArgumentFault.
torch::jit::Value* argument_value(torch::jit::Graph& graph, const ProgramArgument& argument, const c10::TypePtr& type,
                                  std::optional<int32_t> length, const ProgramValues& values);

}  // namespace sightline
