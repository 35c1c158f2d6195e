#include "engine/steps/operations.h"

namespace sightline {

namespace {

Operation control(Control kind, Count inputs, Count outputs = {}) {
  Operation operation;
  operation.control = kind;
  operation.inputs = inputs;
  operation.outputs = outputs;
  operation.reads_host = kind == Control::Given;
  return operation;
}

Operations control_operations() {
  return {
      {"accumulate", control(Control::Accumulate, {1, Count::kAny}, {1, Count::kAny})},
      {"concatenate", control(Control::Concatenate, {1, Count::kAny}, {1, Count::kAny})},
      {"constant", control(Control::Constant, {0, 0})},
      {"forward", control(Control::Forward, {1, 1}, {0, Count::kAny})},
      {"given", control(Control::Given, {0, 0})},
      {"gradient", control(Control::Gradient, {2, Count::kAny}, {1, Count::kAny})},
      {"image", control(Control::Image, {0, 0})},
      {"iterate", control(Control::Iterate, {1, Count::kAny})},
      {"resume", control(Control::Resume, {1, Count::kAny}, {0, Count::kAny})},
  };
}

}  // namespace

const Operations& operations() {
  static const auto* all = [] {
    auto* table = new Operations(control_operations());
    for (auto part : {elementwise_operations(), axis_operations(), image_operations(), model_operations()})
      table->merge(part);
    return table;
  }();
  return *all;
}

const Operation* find_operation(const std::string& name) {
  const auto found = operations().find(name);
  return found == operations().end() ? nullptr : &found->second;
}

}  // namespace sightline
