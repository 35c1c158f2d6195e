#include "engine/graph/convolution_node.h"

#include <array>

namespace sightline {

using torch::jit::Node;

bool is_convolution(const Node* node) { return is_any_of(node, {"_convolution", "conv2d"}); }

std::optional<ConvolutionNode> read_convolution(const Node* node) {
  const bool is_general = is_aten(node, "_convolution");
  if (!is_general && !is_aten(node, "conv2d")) return std::nullopt;
  const auto weight = constant_of(node->input(1)), bias = constant_of(node->input(2));
  if (!weight || !weight->isTensor() || weight->toTensor().dim() != 4 || !bias ||
      (!bias->isTensor() && !bias->isNone()))
    return std::nullopt;
  std::array<std::vector<int64_t>, 3> lists;
  for (size_t i = 0; i < 3; ++i) {
    // Padding may be told by a word, 'same'.
    const auto list = constant_of(node->input(3 + i));
    if (!list || !list->isIntList() || list->toIntVector().size() != 2) return std::nullopt;
    lists[i] = list->toIntVector();
  }
  const auto groups = constant_of(node->input(is_general ? 8 : 6));
  if (!groups || !groups->isInt()) return std::nullopt;
  if (is_general) {
    const auto transposed = constant_of(node->input(6));
    if (!transposed || transposed->toBool()) return std::nullopt;
  }
  return ConvolutionNode{node->input(0), weight->toTensor(), bias->isTensor() ? bias->toTensor() : at::Tensor(),
                         lists[0],       lists[1],           lists[2],
                         groups->toInt()};
}

}  // namespace sightline
