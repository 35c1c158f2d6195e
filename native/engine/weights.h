// Weights from checkpoint files (safetensors: numbers, no code) set into a module by name.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sightline {

// A run of bytes in a file that are a tensor's elements, little-endian and, without strides, row-major.
struct TensorPart {
  int64_t file = 0;  // index in WeightPlan::files
  int64_t begin = 0, end = 0;
  std::string dtype;  // by safetensors' names: F32, BF16, ...
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements; empty: row-major
};

// What a parameter or buffer is filled with: the parts joined along their first axis, then in this shape.
struct Assignment {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<TensorPart> parts;
};

struct WeightPlan {
  std::vector<std::string> files;
  std::vector<Assignment> assignments;
  std::optional<double> layer_norm_eps;  // of all layer norms, where it is not the graph's
};

// Sets them. What needs no other type, no joining and no other device stays in the file, mapped: it is read when it is
// first used, counts once however many processes use it, and the files must not be written to meanwhile.
// Throws EngineError FILE_NOT_FOUND, INVALID_WEIGHTS.
void set_weights(torch::jit::Module& module, const WeightPlan& plan, at::Device device, at::ScalarType dtype);

// Tensors of one file, mapped. Parts at the same place in the same shape are one tensor. `names` are for messages.
// Throws EngineError FILE_NOT_FOUND, INVALID_WEIGHTS.
std::vector<at::Tensor> mapped_tensors(const std::string& file, const std::vector<const TensorPart*>& parts,
                                       const std::vector<std::string>& names);

}  // namespace sightline
