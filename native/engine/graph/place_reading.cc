#include "engine/graph/places.h"

#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Value;

bool Places::has(const Value* value) const { return depends(value) && places_of(value).defined(); }

bool Places::is_lost(const Value* value) const {
  if (!depends(value)) return false;
  return is_tensor(value) ? !places_of(value).defined() : value->type()->isSubtypeOf(*c10::ListType::ofTensors()) && !list_of(value);
}

std::optional<bool> Places::tells_apart(const Value* value, int64_t axis) const {
  const auto places = places_of(value);
  if (!has(value) || is_of_pairs(value)) return std::nullopt;
  return !places.equal(places.narrow(axis, 0, 1).expand(places.sizes()));
}

bool Places::is_map(const Value* value, int64_t rows, int64_t columns) const {
  const auto places = places_of(value);
  if (!has(value) || is_of_pairs(value) || rows >= places.dim() || columns >= places.dim()) return false;
  const auto plane = places.movedim({rows, columns}, {-2, -1}).reshape({-1, places.size(rows), places.size(columns)});
  if (!plane.equal(plane.slice(0, 0, 1).expand(plane.sizes()))) return false;
  const auto line = plane[0].to(at::kLong).contiguous();
  return is_even(line.const_data_ptr<int64_t>(), places.size(rows), places.size(columns));
}

bool Places::is_even(const int64_t* numbers, int64_t height, int64_t width) const {
  const double down = height_ / static_cast<double>(height), across = width_ / static_cast<double>(width);
  for (int64_t i = 0; i < height * width; ++i) {
    const auto row = static_cast<double>(i / width), column = static_cast<double>(i % width);
    const Box& box = boxes_[static_cast<size_t>(numbers[i])];
    if (numbers[i] == 0 || box.top < row * down - kResolution || box.bottom > (row + 1) * down + kResolution || box.left < column * across - kResolution ||
        box.right > (column + 1) * across + kResolution) {
      return false;
    }
  }
  return true;
}

std::optional<TokenPlaces> Places::tokens(const Value* value, int64_t axis) const {
  const auto places = places_of(value);
  if (!has(value) || is_of_pairs(value)) return std::nullopt;
  const auto rows = places.movedim(axis, -1).reshape({-1, places.size(axis)});
  if (!rows.equal(rows.slice(0, 0, 1).expand(rows.sizes()))) return std::nullopt;
  const auto line = rows[0].to(at::kLong).contiguous();
  const auto* numbers = line.const_data_ptr<int64_t>();
  const int64_t count = line.numel();
  // A class token has seen all of the image, or nothing yet.
  const auto is_placed = [&](int64_t i) {
    const Box& box = boxes_[static_cast<size_t>(numbers[i])];
    return numbers[i] != 0 && (box.bottom - box.top < height_ - kResolution || box.right - box.left < width_ - kResolution);
  };
  int64_t first = 0, last = count;
  while (first < count && !is_placed(first)) ++first;
  while (last > first && !is_placed(last - 1)) --last;
  if (first == last) return std::nullopt;
  int64_t width = 0;
  while (first + width < last && boxes_[static_cast<size_t>(numbers[first + width])].top == boxes_[static_cast<size_t>(numbers[first])].top) ++width;
  if ((last - first) % width != 0) return std::nullopt;
  const int64_t height = (last - first) / width;
  if (!is_even(numbers + first, height, width)) return std::nullopt;
  return TokenPlaces{height, width, first, count - last};
}

}  // namespace sightline
