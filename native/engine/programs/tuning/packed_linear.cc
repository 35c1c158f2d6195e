#include "engine/programs/tuning/packed_linear.h"

#include <string>

#include "engine/graph/graph_ops.h"
#include "engine/programs/tuning/packed_operators.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

at::Tensor PackableLinear::pack(PreparedWeights& weights) const {
  return weights.get("packed linear " + std::to_string(rows), {matrix}, [&] { return pack_linear(matrix, rows); });
}

std::optional<PackableLinear> read_packable_linear(const Node* linear, at::ScalarType dtype) {
  const auto weight = constant_of(linear->input(1)), bias = constant_of(linear->input(2));
  const auto sizes = recorded_sizes(linear->input(0));
  if (!weight || !weight->isTensor() || !bias || !sizes || sizes->size() < 2) return std::nullopt;
  const auto matrix = weight->toTensor();
  if (matrix.scalar_type() != dtype || matrix.dim() != 2) return std::nullopt;
  // Of one image, wherever its batch axis stands.
  int64_t rows = kPackedImages;
  for (size_t i = 0; i + 1 < sizes->size(); ++i) rows *= sizes->at(i);
  if (rows < 16) return std::nullopt;
  return PackableLinear{matrix, rows};
}

Value* insert_packed(Graph& graph, const at::Tensor& packed) {
  Node* node = graph.create(c10::Symbol::fromQualString("prim::ConstantMKLDNNTensor"));
  node->t_(c10::attr::value, packed);
  return graph.insertNode(node)->output()->setType(c10::TensorType::get());
}

}  // namespace sightline
