#include "engine/graph/places.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/col2im.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/graph/graph_ops.h"
#include "engine/graph/place_operators.h"

namespace sightline {

using torch::jit::Node;

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

// Whether it is an even grid of the image's places, with or without so little padding around it that an even grid is made of it
// again: not where windows were filled up, which pooling makes into places of padding alone.
bool Places::is_whole_image(const at::Tensor& plane, int64_t made_rows, int64_t made_columns) {
  const auto used = plane != 0;
  const auto rows = used.any(1).nonzero(), columns = used.any(0).nonzero();
  if (rows.numel() == 0) return false;
  const auto first_row = rows[0].item<int64_t>(), first_column = columns[0].item<int64_t>();
  const auto height = rows[-1].item<int64_t>() + 1 - first_row, width = columns[-1].item<int64_t>() + 1 - first_column;
  const auto covers = [](int64_t used, int64_t all, int64_t made) {
    const auto step = std::max<int64_t>(1, std::llround(static_cast<double>(all) / static_cast<double>(made)));
    return used == all || made == used / step || made == (used + step - 1) / step;
  };
  if (!covers(height, plane.size(0), made_rows) || !covers(width, plane.size(1), made_columns)) return false;
  return plane.narrow(0, first_row, height).narrow(1, first_column, width).equal(grid(height, width));
}

at::Tensor Places::over_parts(const at::Tensor& planes, int64_t rows, int64_t columns) {
  const int64_t high = planes.size(1), wide = planes.size(2);
  const auto from = planes.to(at::kLong).contiguous();
  auto result = at::zeros({planes.size(0), rows, columns}, at::kDouble);
  auto* to = result.mutable_data_ptr<double>();
  for (int64_t i = 0; i < planes.size(0); ++i, to += rows * columns) {
    const auto* numbers = from.const_data_ptr<int64_t>() + i * high * wide;
    // A window that is all padding.
    if (std::all_of(numbers, numbers + high * wide, [](int64_t number) { return number == 0; })) continue;
    const auto box = [&](int64_t row, int64_t column) {
      return boxes_[static_cast<size_t>(numbers[row * wide + column])];
    };
    const Box first = box(0, 0), last = box(high - 1, wide - 1);
    const auto part = [](double from, double to, int64_t count, int64_t at) {
      return from + (to - from) * static_cast<double>(at) / static_cast<double>(count);
    };
    for (int64_t row = 0; row < high; ++row) {
      for (int64_t column = 0; column < wide; ++column) {
        const Box here = box(row, column);
        const double off = std::max({std::abs(here.top - part(first.top, last.bottom, high, row)),
                                     std::abs(here.bottom - part(first.top, last.bottom, high, row + 1)),
                                     std::abs(here.left - part(first.left, last.right, wide, column)),
                                     std::abs(here.right - part(first.left, last.right, wide, column + 1))});
        if (numbers[row * wide + column] == 0 || off > kResolution) return {};
      }
    }
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        to[row * columns + column] = static_cast<double>(number_of(
            {part(first.top, last.bottom, rows, row), part(first.top, last.bottom, rows, row + 1),
             part(first.left, last.right, columns, column), part(first.left, last.right, columns, column + 1)}));
      }
    }
  }
  return result;
}

at::Tensor Places::of_blocks(const Node* node, const at::Tensor& from, const std::vector<int64_t>& sizes) {
  if (!is_one_of(node, {"max_pool2d", "max_pool2d_with_indices", "avg_pool2d"})) return {};
  const auto kernel = constant_of(node->input(1)), stride = constant_of(node->input(2)),
             padding = constant_of(node->input(3));
  for (const auto& each : {kernel, stride, padding}) {
    if (!each || !each->isIntList()) return {};
  }
  const auto size = kernel->toIntVector(), step = stride->toIntVector(), around = padding->toIntVector();
  if (size.size() != 2 || (!step.empty() && step != size) || around != std::vector<int64_t>{0, 0}) return {};
  const auto dilation = is_aten(node, "avg_pool2d") ? std::nullopt : constant_of(node->input(4));
  if (dilation && (!dilation->isIntList() || dilation->toIntVector() != std::vector<int64_t>{1, 1})) return {};
  if (from.size(2) != sizes[2] * size[0] || from.size(3) != sizes[3] * size[1]) return {};
  const auto blocks = united(from, 1).unfold(2, size[0], size[0]).unfold(3, size[1], size[1]);
  return united(blocks, at::IntArrayRef{-2, -1}).squeeze(-1).squeeze(-1).expand(sizes);
}

at::Tensor Places::of_line(const Node* node, const at::Tensor& from, const std::vector<int64_t>& sizes) {
  if (from.dim() != 3 || sizes.size() != 3) return {};
  if (sizes[2] == 1) return united(from, 2);
  if (is_one_of(node, {"conv1d", "_convolution", "convolution"})) {
    const auto weight = recorded_sizes(node->input(1));
    const auto constant = constant_of(node->input(1));
    const auto kernel =
        constant && constant->isTensor() ? constant->toTensor().sizes().vec() : weight.value_or(std::vector<int64_t>{});
    // Each place by itself.
    return kernel.size() == 3 && kernel[2] == 1 && from.size(2) == sizes[2] ? united(from, 1).expand(sizes)
                                                                            : at::Tensor();
  }
  if (!is_one_of(node, {"avg_pool1d", "max_pool1d"})) return {};
  const auto kernel = constant_of(node->input(1)), stride = constant_of(node->input(2));
  if (!kernel || !kernel->isIntList() || !stride || !stride->isIntList() || kernel->toIntVector().size() != 1)
    return {};
  const auto length = kernel->toIntVector()[0];
  const auto step = stride->toIntVector().empty() ? length : stride->toIntVector()[0];
  // Without padding, or windows that hang over the end.
  if ((sizes[2] - 1) * step + length > from.size(2) || (from.size(2) - length) / step + 1 != sizes[2]) return {};
  return united(from.unfold(2, length, step), -1).squeeze(-1).expand(sizes);
}

at::Tensor Places::of_window(const Node* node, const std::vector<int64_t>& sizes) {
  const auto from = places_of(node->input(0));
  if (!from.defined()) return {};
  if (sizes.size() == 4 && from.dim() == 4) {
    const bool is_convolution = is_one_of(node, {"_convolution", "conv2d", "convolution", "conv2d_relu"});
    if (from.size(2) == sizes[2] && from.size(3) == sizes[3] && is_convolution) {
      const auto weight = recorded_sizes(node->input(1));
      const auto constant = constant_of(node->input(1));
      const auto kernel = constant && constant->isTensor() ? constant->toTensor().sizes().vec()
                                                           : weight.value_or(std::vector<int64_t>{});
      // Each place by itself, in whatever order they lie.
      if (kernel.size() == 4 && kernel[2] == 1 && kernel[3] == 1) return united(from, 1).expand(sizes);
    }
    if (const auto blocks = of_blocks(node, from, sizes); blocks.defined()) return blocks;
    const auto planes = united(from, at::IntArrayRef{0, 1}).squeeze(0).squeeze(0);
    // What is made of one place, however large, tells none apart.
    if (planes.numel() == 1 && !is_one_of(node, {"conv_transpose2d"}))
      return planes.reshape({1, 1, 1, 1}).expand(sizes);
    if (is_whole_image(planes, sizes[2], sizes[3])) return grid(sizes[2], sizes[3]).expand(sizes);
    if (from.size(0) != sizes[0]) return {};
    const auto parts = over_parts(united(from, 1).squeeze(1), sizes[2], sizes[3]);
    return parts.defined() ? parts.unsqueeze(1).expand(sizes) : at::Tensor();
  }
  // Pooling across channels, or to one place of all.
  if (from.sizes() == at::IntArrayRef(sizes) && is_aten(node, "avg_pool3d")) return united(from, 2).expand(sizes);
  return of_line(node, from, sizes);
}

// Patches laid side by side, or overlapping ones that are summed: each lies where it was taken from.
at::Tensor Places::of_folding(const Node* node, const std::vector<int64_t>& sizes) {
  const auto from = places_of(node->input(0));
  const auto kernel = constant_of(node->input(2)), dilation = constant_of(node->input(3)),
             padding = constant_of(node->input(4)), stride = constant_of(node->input(5));
  for (const auto& each : {kernel, dilation, padding, stride}) {
    if (!each || !each->isIntList() || each->toIntVector().size() != 2) return {};
  }
  if (!from.defined() || from.dim() != 3 || sizes.size() != 4) return {};
  const bool is_apart =
      kernel->toIntVector() == stride->toIntVector() && dilation->toIntVector() == std::vector<int64_t>{1, 1};
  if (is_apart)
    return at::col2im(from, at::IntArrayRef(sizes).slice(2), kernel->toIntVector(), dilation->toIntVector(),
                      padding->toIntVector(), stride->toIntVector());
  int64_t patches[2];
  for (size_t i = 0; i < 2; ++i) {
    patches[i] = (sizes[i + 2] + 2 * padding->toIntVector()[i] -
                  dilation->toIntVector()[i] * (kernel->toIntVector()[i] - 1) - 1) /
                     stride->toIntVector()[i] +
                 1;
  }
  if (from.size(2) != patches[0] * patches[1] ||
      !is_whole_image(united(from, at::IntArrayRef{0, 1}).reshape({patches[0], patches[1]}), patches[0], patches[1]))
    return {};
  return grid(sizes[2], sizes[3]).expand(sizes);
}

}  // namespace sightline
