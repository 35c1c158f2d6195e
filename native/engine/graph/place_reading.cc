#include "engine/graph/places.h"

#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Value;

bool Places::has(const Value* value) const { return depends(value) && places_of(value).defined(); }

bool Places::is_lost(const Value* value) const {
  if (!depends(value)) return false;
  return is_tensor(value) ? !places_of(value).defined()
                          : value->type()->isSubtypeOf(*c10::ListType::ofTensors()) && !list_of(value);
}

std::optional<bool> Places::tells_apart(const Value* value, int64_t axis) const {
  const auto places = places_of(value);
  if (!has(value) || is_of_pairs(value)) return std::nullopt;
  return !places.equal(places.narrow(axis, 0, 1).expand(places.sizes()));
}

std::optional<bool> Places::are_all_apart(const Value* value, int64_t axis) const {
  const auto places = places_of(value);
  if (!has(value) || is_of_pairs(value)) return std::nullopt;
  const auto planes = places.movedim(axis, 0).reshape({places.size(axis), -1}).contiguous();
  std::set<std::vector<double>> different;
  for (int64_t i = 0; i < planes.size(0); ++i) {
    const auto* from = planes.const_data_ptr<double>() + i * planes.size(1);
    if (!different.emplace(from, from + planes.size(1)).second) return false;
  }
  return true;
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
    // Whole numbers, of cells.
    const int64_t of_row = i / width, of_column = i % width;
    const auto row = static_cast<double>(of_row), column = static_cast<double>(of_column);
    const Box& box = boxes_[static_cast<size_t>(numbers[i])];
    if (numbers[i] == 0 || box.top < row * down - kResolution || box.bottom > (row + 1) * down + kResolution ||
        box.left < column * across - kResolution || box.right > (column + 1) * across + kResolution) {
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
    return numbers[i] != 0 &&
           (box.bottom - box.top < height_ - kResolution || box.right - box.left < width_ - kResolution);
  };
  int64_t first = 0, last = count;
  while (first < count && !is_placed(first)) ++first;
  while (last > first && !is_placed(last - 1)) --last;
  if (first == last) return std::nullopt;
  int64_t width = 0;
  while (first + width < last &&
         boxes_[static_cast<size_t>(numbers[first + width])].top == boxes_[static_cast<size_t>(numbers[first])].top)
    ++width;
  if ((last - first) % width != 0) return std::nullopt;
  const int64_t height = (last - first) / width;
  if (!is_even(numbers + first, height, width)) return std::nullopt;
  return TokenPlaces{height, width, first, count - last};
}

std::optional<PatchOrder> Places::order(const Value* value) const {
  const auto places = places_of(value);
  if (!has(value) || is_of_pairs(value) || places.dim() < 3) return std::nullopt;
  const auto first = places.narrow(-1, 0, 1);
  if (places.stride(-1) != 0 && !places.equal(first.expand(places.sizes()))) return std::nullopt;
  const auto line = first.reshape(-1).to(at::kLong).contiguous();
  const auto* numbers = line.const_data_ptr<int64_t>();
  const auto key = [](double bound) { return std::llround(bound / kResolution); };
  const auto area = [](const Box& box) { return (box.bottom - box.top) * (box.right - box.left); };
  const auto is_whole = [&](const Box& box) {
    return box.bottom - box.top >= height_ - kResolution && box.right - box.left >= width_ - kResolution;
  };
  double least = height_ * width_;
  for (int64_t i = 0; i < line.numel(); ++i) {
    if (numbers[i] != 0) least = std::min(least, area(boxes_[static_cast<size_t>(numbers[i])]));
  }
  std::map<std::pair<int64_t, int64_t>, int64_t> by_corner;  // row by row
  std::set<int64_t> rows, columns;
  std::vector<int64_t> without;
  for (int64_t i = 0; i < line.numel(); ++i) {
    const Box& box = boxes_[static_cast<size_t>(numbers[i])];
    // Padding, and tokens of a window, have seen more than one patch, or nothing.
    if (numbers[i] == 0 || is_whole(box) || area(box) > 1.5 * least) {
      without.push_back(i);
      continue;
    }
    if (!by_corner.emplace(std::make_pair(key(box.top), key(box.left)), i).second) return std::nullopt;
    rows.insert(key(box.top));
    columns.insert(key(box.left));
  }
  PatchOrder order{static_cast<int64_t>(rows.size()), static_cast<int64_t>(columns.size()), {}};
  if (by_corner.empty() || order.height * order.width != static_cast<int64_t>(by_corner.size())) return std::nullopt;
  std::vector<int64_t> in_rows;
  for (const auto& [corner, entry] : by_corner) {
    order.entries.push_back(entry);
    in_rows.push_back(numbers[entry]);
  }
  if (!is_even(in_rows.data(), order.height, order.width)) return std::nullopt;
  order.entries.insert(order.entries.end(), without.begin(), without.end());
  return order;
}

}  // namespace sightline
