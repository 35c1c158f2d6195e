// Linear layers whose weights are worth packing for oneDNN.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <optional>

#include "engine/programs/tuning/prepared_weights.h"

namespace sightline {

struct PackableLinear {
  at::Tensor matrix;
  // Of some images: oneDNN's layouts hardly depend on how many.
  int64_t rows;

  at::Tensor pack(PreparedWeights& weights) const;
};

// None if the weights are not known, of another type, or multiplied with a few rows only, such as the classifier's.
std::optional<PackableLinear> read_packable_linear(const torch::jit::Node* linear, at::ScalarType dtype);

// Opaque tensors are no plain constants: they have no storage.
torch::jit::Value* insert_packed(torch::jit::Graph& graph, const at::Tensor& packed);

}  // namespace sightline
