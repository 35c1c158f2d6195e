// A program of torch.export as a TorchScript module. TypeScript has read and checked the file: a straight list of
// operators, each of what stands before it, and where the weights lie. From here on nothing knows where it came from.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/weights.h"

namespace sightline {

// What an operator is given, before its schema has been asked.
struct ProgramArgument {
  enum class Kind { None, Value, Int, Float, Bool, Text, Dtype, MemoryFormat, Device, List };
  Kind kind = Kind::None;
  std::string text;  // of a value its name
  double number = 0;
  std::vector<ProgramArgument> items;
};

struct ProgramNode {
  std::string op;                                               // "aten::conv2d"
  std::optional<std::string> overload;                          // none: arithmetic, which takes what fits
  std::vector<std::pair<std::string, ProgramArgument>> inputs;  // by the schema's names; of arithmetic in order
  // What it gives: no name where nobody reads it, several where it gives a list.
  struct Output {
    bool is_list = false;
    std::vector<std::string> names;
  };
  std::vector<Output> outputs;
  std::string scope;  // the module in whose code it stands
  // Of modules that end here: `value` is what the module at `path` gives; of several, as their place.
  struct Name {
    std::string value, path;
    int64_t element;
  };
  std::vector<Name> names;
};

struct ProgramTensor {
  std::string value, name;
  bool is_parameter;
  TensorPart part;
};

struct ExportedProgram {
  std::string file;
  std::string image;
  std::vector<ProgramTensor> tensors;
  std::vector<ProgramNode> nodes;
  std::vector<std::pair<std::optional<std::string>, std::string>> outputs;  // by name; one alone may have none
  bool is_for_one_image = false;
};

// A module's output that is still to be marked: once its operators have been looked through, which know no marks.
struct PendingMark {
  torch::jit::Value* value;
  torch::jit::Node* after;
  std::string path;
  int64_t element;
};

struct BuiltProgram {
  torch::jit::Module module;
  std::vector<PendingMark> marks;
};

// The module that `program` is the forward of, its weights mapped as set_weights maps them. `path` is for messages.
// Throws EngineError UNSUPPORTED_MODEL for an operator that this LibTorch does not have, UNTRUSTED_ARCHIVE for arguments
// that no operator has, INVALID_WEIGHTS.
BuiltProgram build_program(const ExportedProgram& program, const std::string& path, at::Device device,
                           at::ScalarType dtype);

// Puts the marks into the module's forward.
void mark_outputs(const BuiltProgram& built);

}  // namespace sightline
