#include "engine/graph/places.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

namespace {

// Of a pixel: places nearer than this are the same.
constexpr double kResolution = 1.0 / 1024;

// Each element of the output is one of the input's.
bool moves_elements(const Node* node) {
  return is_any_of(node, {"view", "reshape", "_unsafe_view", "view_as", "reshape_as", "permute", "transpose", "t", "mT", "numpy_T", "flatten",
                          "unflatten", "squeeze", "unsqueeze", "slice", "select", "narrow", "split", "split_with_sizes", "tensor_split",
                          "chunk", "unbind", "cat", "concat", "stack", "roll", "flip", "expand", "expand_as", "repeat", "tile",
                          "repeat_interleave", "index", "index_select", "gather", "take_along_dim", "contiguous", "clone", "movedim",
                          "swapaxes", "swapdims", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "im2col",
                          "unfold", "rot90"});
}

// Of the same shape as their first input, entry by entry or scaled by their neighbours.
bool keeps_shape(const Node* node) {
  if (is_any_of(node, {"to", "type_as", "float", "half", "bfloat16", "detach", "alias", "dropout", "feature_dropout", "alpha_dropout", "softmax", "_softmax",
                       "_safe_softmax", "log_softmax", "layer_norm", "batch_norm", "group_norm", "instance_norm", "rms_norm", "normalize", "cumsum",
                       "gelu", "prelu", "masked_fill", "where"})) {
    return true;
  }
  const auto* schema = node->maybeSchema();
  if (schema == nullptr) return false;
  const auto handle = c10::Dispatcher::singleton().findOp(schema->operator_name());
  return handle && handle->hasTag(at::Tag::pointwise);
}

// What comes of it does not depend on what the image's values are: sizes, and tensors that are made like another.
bool tells_sizes(const Node* node) {
  return node->kind() == c10::prim::dtype || node->kind() == c10::prim::device ||
         is_any_of(node, {"size", "len", "dim", "numel", "is_floating_point", "new_zeros", "new_ones", "new_full", "new_empty", "zeros_like", "ones_like",
                          "full_like", "empty_like"});
}

bool is_window(const Node* node) {
  return is_any_of(node, {"_convolution", "conv1d", "conv2d", "convolution", "conv_transpose2d", "max_pool2d", "max_pool2d_with_indices",
                          "avg_pool2d", "avg_pool3d", "max_pool1d", "avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "adaptive_avg_pool1d",
                          "adaptive_max_pool1d", "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"});
}

bool is_reduction(const Node* node) {
  return is_any_of(node, {"mean", "sum", "amax", "amin", "max", "min", "norm", "linalg_vector_norm", "linalg_norm", "std", "var", "logsumexp", "prod",
                          "argmax", "argmin", "median", "nanmean"});
}

at::Tensor zeros(at::IntArrayRef sizes) { return at::zeros({1}, at::kDouble).expand(sizes); }

}  // namespace

Places::Places(const Graph& graph, const Value* image, int64_t height, int64_t width)
    : height_(static_cast<double>(height)), width_(static_cast<double>(width)), boxes_{{0, 0, 0, 0}} {
  at::NoGradGuard no_gradients;
  if (const auto sizes = recorded_sizes(image)) {
    dependent_.insert(image);
    known_[image] = grid(height, width).expand(*sizes);
  }
  for (const Node* node : graph.nodes()) follow(node);
}

int64_t Places::number_of(const Box& box) {
  const auto key = [](double bound) { return std::llround(bound / kResolution); };
  const auto [found, is_new] = numbers_.emplace(std::array<int64_t, 4>{key(box.top), key(box.bottom), key(box.left), key(box.right)},
                                                static_cast<int64_t>(boxes_.size()));
  if (is_new) boxes_.push_back(box);
  return found->second;
}

at::Tensor Places::grid(int64_t rows, int64_t columns) {
  auto& numbers = grids_[{rows, columns}];
  if (numbers.defined()) return numbers;
  numbers = at::empty({rows, columns}, at::kDouble);
  auto* to = numbers.mutable_data_ptr<double>();
  const double down = height_ / static_cast<double>(rows), across = width_ / static_cast<double>(columns);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const auto y = static_cast<double>(row), x = static_cast<double>(column);
      *to++ = static_cast<double>(number_of({y * down, (y + 1) * down, x * across, (x + 1) * across}));
    }
  }
  return numbers;
}

at::Tensor Places::bounds(const at::Tensor& numbers, double Box::* bound, double of_none) const {
  auto table = at::empty({static_cast<int64_t>(boxes_.size())}, at::kDouble);
  auto* to = table.mutable_data_ptr<double>();
  for (const Box& box : boxes_) *to++ = box.*bound;
  table[0] = of_none;
  return table.take(numbers.to(at::kLong));
}

at::Tensor Places::united(const at::Tensor& numbers, at::IntArrayRef axes) {
  const auto low = at::amin(numbers, axes, true);
  if (low.equal(at::amax(numbers, axes, true))) return low;
  constexpr double kFar = std::numeric_limits<double>::infinity();
  const auto top = at::amin(bounds(numbers, &Box::top, kFar), axes, true).contiguous(), bottom = at::amax(bounds(numbers, &Box::bottom, -kFar), axes, true).contiguous();
  const auto left = at::amin(bounds(numbers, &Box::left, kFar), axes, true).contiguous(), right = at::amax(bounds(numbers, &Box::right, -kFar), axes, true).contiguous();
  auto result = at::zeros_like(top);
  for (int64_t i = 0; i < result.numel(); ++i) {
    const auto at = [&](const at::Tensor& tensor) { return tensor.const_data_ptr<double>()[i]; };
    if (std::isfinite(at(top))) result.mutable_data_ptr<double>()[i] = static_cast<double>(number_of({at(top), at(bottom), at(left), at(right)}));
  }
  return result;
}

at::Tensor Places::combined(const at::Tensor& a, const at::Tensor& b, bool& conflicts) const {
  const auto none_a = a == 0, none_b = b == 0;
  const auto simple = at::where(none_a, b, a);
  if (((a == b) | none_a | none_b).all().item<bool>()) return simple;
  const auto inside = [&](const at::Tensor& x, const at::Tensor& y) {
    return (bounds(x, &Box::top, 0) >= bounds(y, &Box::top, 0) - kResolution) & (bounds(x, &Box::bottom, 0) <= bounds(y, &Box::bottom, 0) + kResolution) &
           (bounds(x, &Box::left, 0) >= bounds(y, &Box::left, 0) - kResolution) & (bounds(x, &Box::right, 0) <= bounds(y, &Box::right, 0) + kResolution);
  };
  const auto a_inside = inside(a, b), b_inside = inside(b, a);
  conflicts = conflicts || !(a_inside | b_inside | none_a | none_b).all().item<bool>();
  return at::where(none_a | none_b | a_inside | ~b_inside, simple, b);
}

at::Tensor Places::places_of(const Value* value) const {
  const auto found = known_.find(value);
  if (depends(value)) return found != known_.end() && found->second.isTensor() ? found->second.toTensor() : at::Tensor();
  if (const auto sizes = recorded_sizes(value)) return zeros(*sizes);
  if (found != known_.end() && found->second.isTensor() && found->second.toTensor().defined()) return zeros(found->second.toTensor().sizes());
  if (const auto constant = constant_of(value); constant && constant->isTensor() && constant->toTensor().defined()) return zeros(constant->toTensor().sizes());
  return {};
}

std::optional<std::vector<at::Tensor>> Places::list_of(const Value* value) const {
  const Node* node = value->node();
  std::vector<at::Tensor> parts;
  if (node->kind() == c10::prim::ListConstruct) {
    for (const Value* part : node->inputs()) parts.push_back(places_of(part));
  } else if (is_aten(node, "add")) {
    for (const Value* half : node->inputs()) {
      const auto of_half = list_of(half);
      if (!of_half) return std::nullopt;
      parts.insert(parts.end(), of_half->begin(), of_half->end());
    }
  } else {
    const auto found = known_.find(value);
    if (found == known_.end() || !found->second.isTensorList()) return std::nullopt;
    parts = found->second.toTensorVector();
    if (!depends(value)) std::transform(parts.begin(), parts.end(), parts.begin(), [](const at::Tensor& part) { return zeros(part.sizes()); });
  }
  if (std::any_of(parts.begin(), parts.end(), [](const at::Tensor& part) { return !part.defined(); })) return std::nullopt;
  return parts;
}

// Runs the operator itself: on places, or on what its inputs are where none depends on the image.
bool Places::run(const Node* node, bool on_places) {
  torch::jit::Stack stack;
  for (size_t i = 0; i < node->inputs().size(); ++i) {
    const Value* input = node->input(i);
    // What is moved; indices and sizes stay what they are.
    const bool is_moved = on_places && i == 0;
    if (is_moved && input->type()->isSubtypeOf(*c10::ListType::ofTensors())) {
      const auto parts = list_of(input);
      if (!parts) return false;
      stack.emplace_back(*parts);
    } else if (is_moved || (on_places && is_tensor(input) && depends(input))) {
      auto places = places_of(input);
      // Sizes are on record where places are not known.
      if (!places.defined() && tells_sizes(node) && recorded_sizes(input)) places = zeros(*recorded_sizes(input));
      if (!places.defined()) return false;
      stack.emplace_back(places);
    } else if (const auto constant = constant_of(input)) {
      stack.push_back(*constant);
    } else {
      const auto found = known_.find(input);
      if (found == known_.end()) return false;
      stack.push_back(found->second);
    }
  }
  if (node->kind() == c10::prim::ListConstruct) {
    c10::impl::GenericList list(node->output()->type()->expect<c10::ListType>()->getElementType());
    for (const auto& element : stack) list.push_back(element);
    known_[node->output()] = list;
    return true;
  }
  try {
    node->getOperation()(stack);
  } catch (const std::exception&) {
    return false;  // an operator that does not do numbers of this type: its places are not known
  }
  if (stack.size() != node->outputs().size()) return false;
  for (size_t i = 0; i < stack.size(); ++i) known_[node->output(i)] = stack[i];
  return true;
}

void Places::follow(const Node* node) {
  if (node->kind() == c10::prim::Constant) return;
  const auto inputs = node->inputs();
  const bool is_dependent = std::any_of(inputs.begin(), inputs.end(), [&](const Value* input) { return depends(input); });
  if (is_dependent && tells_sizes(node)) {
    run(node, true);
    return;
  }
  if (!is_dependent && node->kind() != c10::prim::ListUnpack) {
    run(node, false);
    return;
  }
  if (is_dependent) dependent_.insert(node->outputs().begin(), node->outputs().end());
  if (node->kind() == c10::prim::ListConstruct) return;  // read where the list is
  if (node->kind() == c10::prim::ListUnpack) {
    if (is_dependent) {
      const auto parts = list_of(node->input(0));
      for (size_t i = 0; parts && i < parts->size() && parts->size() == node->outputs().size(); ++i) known_[node->output(i)] = parts->at(i);
    } else if (const auto found = known_.find(node->input(0)); found != known_.end() && found->second.isList()) {
      const auto parts = found->second.toListRef();
      for (size_t i = 0; i < parts.size() && parts.size() == node->outputs().size(); ++i) known_[node->output(i)] = parts[i];
    }
    if (pairs_.count(node->input(0)) != 0) pairs_.insert(node->outputs().begin(), node->outputs().end());
    return;
  }
  const bool is_pair = std::any_of(inputs.begin(), inputs.end(), [&](const Value* input) { return pairs_.count(input) != 0; });
  if (moves_elements(node)) {
    if (run(node, true) && is_pair) pairs_.insert(node->outputs().begin(), node->outputs().end());
    return;
  }
  for (const Value* output : node->outputs()) {
    if (!is_tensor(output)) continue;
    at::Tensor result;
    try {
      result = result_of(node, output);
    } catch (const c10::Error&) {
      continue;  // operands that do not go together as they usually do, such as grouped queries: not known
    }
    if (result.defined()) known_[output] = result;
  }
}

at::Tensor Places::result_of(const Node* node, const Value* output) {
  const auto sizes = recorded_sizes(output);
  if (is_aten(node, "linear") && sizes && !depends(node->input(1))) {
    const auto from = places_of(node->input(0));
    return from.defined() ? united(from, -1).expand(*sizes) : from;
  }
  if (is_any_of(node, {"matmul", "bmm", "mm"})) return of_product(places_of(node->input(0)), places_of(node->input(1)), output);
  if (is_any_of(node, {"addmm", "baddbmm"})) return of_product(places_of(node->input(1)), places_of(node->input(2)), output);
  if (is_aten(node, "scaled_dot_product_attention")) {
    const auto query = places_of(node->input(0)), key = places_of(node->input(1)), value = places_of(node->input(2));
    if (!query.defined() || !key.defined() || !value.defined() || !sizes) return {};
    bool is_pair = false;
    // A row of probabilities has its query's place.
    return combined(united(query, -1), united(value, -2), is_pair).expand(*sizes);
  }
  if (is_aten(node, "einsum")) return of_einsum(node, output);
  if (!sizes) return {};
  if (is_any_of(node, {"constant_pad_nd", "pad", "reflection_pad2d", "replication_pad2d"})) return of_padding(node);
  if (is_window(node)) return of_window(node, *sizes);
  if (is_reduction(node)) {
    const bool is_elementwise = node->inputs().size() > 1 && is_tensor(node->input(1));  // the larger of two
    return is_elementwise ? of_elementwise(node, output, *sizes) : of_reduction(node, *sizes);
  }
  return keeps_shape(node) ? of_elementwise(node, output, *sizes) : at::Tensor();
}

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
    if (from.size(2) == sizes[2] && from.size(3) == sizes[3] && is_any_of(node, {"_convolution", "conv2d", "convolution"})) {
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

at::Tensor Places::of_product(const at::Tensor& a, const at::Tensor& b, const Value* output) {
  const auto sizes = recorded_sizes(output);
  if (!a.defined() || !b.defined() || a.dim() < 2 || b.dim() < 2 || !sizes) return {};
  bool is_pair = false;
  const auto result = combined(united(a, -1), united(b, -2), is_pair).expand(*sizes);
  if (is_pair) pairs_.insert(output);
  return result;
}

at::Tensor Places::of_einsum(const Node* node, const Value* output) {
  const auto equation = constant_of(node->input(0));
  const Node* list = node->input(1)->node();
  const auto sizes = recorded_sizes(output);
  if (!equation || !equation->isString() || !sizes || list->kind() != c10::prim::ListConstruct || list->inputs().size() != 2) return {};
  std::string text = equation->toStringRef();
  std::erase(text, ' ');
  const auto comma = text.find(','), arrow = text.find("->");
  if (comma == std::string::npos || arrow == std::string::npos || text.find('.') != std::string::npos) return {};
  const std::string letters[] = {text.substr(0, comma), text.substr(comma + 1, arrow - comma - 1)}, wanted = text.substr(arrow + 2);
  at::Tensor parts[2];
  for (size_t i = 0; i < 2; ++i) {
    auto places = places_of(list->input(i));
    if (!places.defined() || places.dim() != static_cast<int64_t>(letters[i].size())) return {};
    std::vector<int64_t> summed, order;
    for (size_t axis = 0; axis < letters[i].size(); ++axis) {
      if (letters[i].find(letters[i][axis], axis + 1) != std::string::npos) return {};
      if (wanted.find(letters[i][axis]) == std::string::npos) summed.push_back(static_cast<int64_t>(axis));
    }
    if (!summed.empty()) places = united(places, summed);
    for (const char letter : wanted) {
      if (const auto axis = letters[i].find(letter); axis != std::string::npos) order.push_back(static_cast<int64_t>(axis));
    }
    order.insert(order.end(), summed.begin(), summed.end());
    places = places.permute(order);
    for (size_t gone = 0; gone < summed.size(); ++gone) places = places.squeeze(-1);
    for (size_t axis = 0; axis < wanted.size(); ++axis) {
      if (letters[i].find(wanted[axis]) == std::string::npos) places = places.unsqueeze(static_cast<int64_t>(axis));
    }
    parts[i] = places;
  }
  bool is_pair = false;
  const auto result = combined(parts[0], parts[1], is_pair).expand(*sizes);
  if (is_pair) pairs_.insert(output);
  return result;
}

at::Tensor Places::of_reduction(const Node* node, const std::vector<int64_t>& sizes) {
  const auto from = places_of(node->input(0));
  if (!from.defined()) return {};
  std::vector<int64_t> axes;
  for (const Value* input : node->inputs().slice(1)) {
    const auto constant = constant_of(input);
    const auto list = constant && constant->isIntList() ? constant->toIntVector() : std::vector<int64_t>{};
    if (!list.empty()) axes = list;
    if (constant && constant->isInt() && axes.empty() && input == node->input(1)) axes = {constant->toInt()};
    if (!axes.empty()) break;
  }
  if (axes.empty()) {
    axes.resize(static_cast<size_t>(from.dim()));
    std::iota(axes.begin(), axes.end(), 0);
  }
  const auto result = united(from, axes);
  return c10::multiply_integers(sizes) == result.numel() ? result.reshape(sizes) : at::Tensor();
}

at::Tensor Places::of_elementwise(const Node* node, const Value* output, const std::vector<int64_t>& sizes) {
  at::Tensor result;
  for (const Value* input : node->inputs()) {
    if (!is_tensor(input) || !depends(input)) continue;
    const auto places = places_of(input);
    if (!places.defined()) return {};
    if (pairs_.count(input) != 0) pairs_.insert(output);
    bool conflicts = false;
    result = result.defined() ? combined(result, places, conflicts) : places;
    if (conflicts && pairs_.count(output) == 0) return {};
  }
  if (!result.defined() || result.dim() > static_cast<int64_t>(sizes.size())) return {};
  try {
    return result.expand(sizes);
  } catch (const std::exception&) {
    return {};
  }
}

bool Places::has(const Value* value) const { return depends(value) && places_of(value).defined(); }

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
  const auto near = [](double x, double y) { return std::abs(x - y) <= kResolution; };
  for (int64_t i = 0; i < height * width; ++i) {
    const auto row = static_cast<double>(i / width), column = static_cast<double>(i % width);
    const Box& box = boxes_[static_cast<size_t>(numbers[i])];
    if (!near(box.top, row * down) || !near(box.bottom, (row + 1) * down) || !near(box.left, column * across) || !near(box.right, (column + 1) * across)) return false;
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
