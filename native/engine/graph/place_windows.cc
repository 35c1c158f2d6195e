#include "engine/graph/places.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/col2im.h>
#include <ATen/ops/constant_pad_nd.h>

#include <vector>

#include "engine/graph/graph_ops.h"
#include "engine/graph/place_operators.h"

namespace sightline {

using torch::jit::Node;
using torch::jit::Value;

// What is put around an image is no place, though it may be made of the image's own pixels.
at::Tensor Places::of_padding(const Node* node) const {
  const auto from = places_of(node->input(0));
  const auto constant = constant_of(node->input(1));
  const auto found = known_.find(node->input(1));
  if (!from.defined() || (!constant && found == known_.end())) return {};
  const auto& widths = constant ? *constant : found->second;
  if (!widths.isIntList()) return {};
  return at::constant_pad_nd(from, widths.toIntVector(), 0);
}

// Whether it is an even grid of the image's places, with or without padding around it.
bool Places::is_whole_image(const at::Tensor& plane) {
  const auto used = plane != 0;
  const auto rows = used.any(1).nonzero(), columns = used.any(0).nonzero();
  if (rows.numel() == 0) return false;
  const auto first_row = rows[0].item<int64_t>(), first_column = columns[0].item<int64_t>();
  const auto height = rows[-1].item<int64_t>() + 1 - first_row, width = columns[-1].item<int64_t>() + 1 - first_column;
  return plane.narrow(0, first_row, height).narrow(1, first_column, width).equal(grid(height, width));
}

at::Tensor Places::of_window(const Node* node, const std::vector<int64_t>& sizes) {
  const auto from = places_of(node->input(0));
  if (!from.defined()) return {};
  if (sizes.size() == 4 && from.dim() == 4) {
    if (from.size(2) == sizes[2] && from.size(3) == sizes[3] && is_one_of(node, {"_convolution", "conv2d", "convolution", "conv2d_relu"})) {
      const auto weight = recorded_sizes(node->input(1));
      const auto constant = constant_of(node->input(1));
      const auto kernel = constant && constant->isTensor() ? constant->toTensor().sizes().vec() : weight.value_or(std::vector<int64_t>{});
      // Each place by itself, in whatever order they lie.
      if (kernel.size() == 4 && kernel[2] == 1 && kernel[3] == 1) return united(from, 1).expand(sizes);
    }
    if (!is_whole_image(united(from, at::IntArrayRef{0, 1}).squeeze(0).squeeze(0))) return {};
    return grid(sizes[2], sizes[3]).expand(sizes);
  }
  // Pooling across channels, or to one place of all.
  if (from.sizes() == at::IntArrayRef(sizes) && is_aten(node, "avg_pool3d")) return united(from, 2).expand(sizes);
  if (sizes.size() == 3 && sizes[2] == 1) return united(from, 2);
  return {};
}

// Patches laid side by side, or overlapping ones that are summed: each lies where it was taken from.
at::Tensor Places::of_folding(const Node* node, const std::vector<int64_t>& sizes) {
  const auto from = places_of(node->input(0));
  const auto kernel = constant_of(node->input(2)), dilation = constant_of(node->input(3)), padding = constant_of(node->input(4)), stride = constant_of(node->input(5));
  for (const auto& each : {kernel, dilation, padding, stride}) {
    if (!each || !each->isIntList() || each->toIntVector().size() != 2) return {};
  }
  if (!from.defined() || from.dim() != 3 || sizes.size() != 4) return {};
  const bool is_apart = kernel->toIntVector() == stride->toIntVector() && dilation->toIntVector() == std::vector<int64_t>{1, 1};
  if (is_apart) return at::col2im(from, at::IntArrayRef(sizes).slice(2), kernel->toIntVector(), dilation->toIntVector(), padding->toIntVector(), stride->toIntVector());
  int64_t patches[2];
  for (size_t i = 0; i < 2; ++i) {
    patches[i] = (sizes[i + 2] + 2 * padding->toIntVector()[i] - dilation->toIntVector()[i] * (kernel->toIntVector()[i] - 1) - 1) / stride->toIntVector()[i] + 1;
  }
  if (from.size(2) != patches[0] * patches[1] || !is_whole_image(united(from, at::IntArrayRef{0, 1}).reshape({patches[0], patches[1]}))) return {};
  return grid(sizes[2], sizes[3]).expand(sizes);
}

}  // namespace sightline
