// How the parts of the table of operations are written.
#pragma once

#include "engine/steps/operations.h"

namespace sightline {

inline Operation reading(Count inputs, std::function<at::Tensor(const Tensors&, const Attributes&)> function) {
  Operation operation;
  operation.run = [function = std::move(function)](const Tensors& in, const Attributes& set, const StepContext&) {
    return Tensors{function(in, set)};
  };
  operation.inputs = inputs;
  return operation;
}

inline Operation unary(at::Tensor (*function)(const at::Tensor&)) {
  return reading({1, 1}, [function](const Tensors& in, const Attributes&) { return function(in[0]); });
}

inline Operation unary(std::function<at::Tensor(const at::Tensor&, const Attributes&)> function) {
  return reading({1, 1}, [function = std::move(function)](const Tensors& in, const Attributes& set) {
    return function(in[0], set);
  });
}

inline Operation binary(at::Tensor (*function)(const at::Tensor&, const at::Tensor&)) {
  return reading({2, 2}, [function](const Tensors& in, const Attributes&) { return function(in[0], in[1]); });
}

inline Operation binary(std::function<at::Tensor(const at::Tensor&, const at::Tensor&, const Attributes&)> function) {
  return reading({2, 2}, [function = std::move(function)](const Tensors& in, const Attributes& set) {
    return function(in[0], in[1], set);
  });
}

inline Operation with_context(Count inputs,
                              std::function<Tensors(const Tensors&, const Attributes&, const StepContext&)> function,
                              Count outputs = {}) {
  Operation operation;
  operation.run = std::move(function);
  operation.inputs = inputs;
  operation.outputs = outputs;
  return operation;
}

inline Operation on_host(Operation operation) {
  operation.reads_host = true;
  return operation;
}

inline Operation of_target(Operation operation) {
  operation.reads_target = true;
  return operation;
}

// Each image by itself: a number for each, shaped so that it is broadcast over the image's values.
inline at::Tensor per_image(const at::Tensor& value, const at::Tensor& like) {
  std::vector<int64_t> sizes(like.dim(), 1);
  sizes[0] = value.size(0);
  return value.view(sizes);
}

}  // namespace sightline
