// Where in the image the entries of each value lie, followed through the graph.
//
// Each entry of each value has a place: the box of the image that it belongs to, or none (a class token, a register). The
// pixels have theirs by definition. Operators that only move elements are run on the numbers of the places; convolutions and
// pooling make a new even grid of their output; elementwise operators keep places, or the smaller of two; what sums over an
// axis unites the places along it; what is made of one place is of that place. Whatever is not known to do one of these has
// unknown places, and so has all that is computed from it, but for what scales each place alike. No conclusion is drawn from a size or a name.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/ir/ir.h>

#include <array>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace sightline {

// Patches that lie in the order of rows among tokens: `prefix` tokens without a place, height x width patches, `suffix` without.
struct TokenPlaces {
  int64_t height, width, prefix, suffix;
};

// Patches in another order than that of rows, over all axes but the last: the entry of each, row by row, and then the entries
// without a place.
struct PatchOrder {
  int64_t height, width;
  std::vector<int64_t> entries;
};

class Places {
 public:
  Places(const torch::jit::Graph& graph, const torch::jit::Value* image, int64_t height, int64_t width);

  // Whether the places of all entries are known.
  bool has(const torch::jit::Value* value) const;
  // Whether it depends on the image and its places, or those of a list's tensors, are not known.
  bool is_lost(const torch::jit::Value* value) const;
  // Whether some of its entries belong to two places, as those of an attention matrix do.
  bool is_of_pairs(const torch::jit::Value* value) const { return pairs_.count(value) != 0; }
  // Whether axes `rows` and `columns` are the image's, in order and in full, and no other axis tells places apart.
  bool is_map(const torch::jit::Value* value, int64_t rows, int64_t columns) const;
  // Whether entries along an axis lie apart; none where places are not known.
  std::optional<bool> tells_apart(const torch::jit::Value* value, int64_t axis) const;
  // Whether no two entries along an axis have the same places; none where places are not known.
  std::optional<bool> are_all_apart(const torch::jit::Value* value, int64_t axis) const;
  // The patches along an axis that alone tells places apart; none where they are in no such order.
  std::optional<TokenPlaces> tokens(const torch::jit::Value* value, int64_t axis) const;
  // The patches along all axes but the last, where each lies once, in whatever order: mask units, windows, shifted windows.
  std::optional<PatchOrder> order(const torch::jit::Value* value) const;

 private:
  // Of a pixel: places nearer than this are the same.
  static constexpr double kResolution = 1.0 / 1024;

  struct Box {
    double top, bottom, left, right;  // in pixels
  };

  // Whether each of these places lies in its own cell of an even grid over the whole image, row by row: every second place of a
  // finer grid does so too, as what a convolution with a stride reads first.
  bool is_even(const int64_t* numbers, int64_t height, int64_t width) const;
  int64_t number_of(const Box& box);
  at::Tensor grid(int64_t rows, int64_t columns);
  at::Tensor bounds(const at::Tensor& numbers, double Box::* bound, double of_none) const;
  at::Tensor united(const at::Tensor& numbers, at::IntArrayRef axes);
  // `conflicts`: set where entries of both lie apart; those keep the place of `a`.
  at::Tensor combined(const at::Tensor& a, const at::Tensor& b, bool& conflicts) const;

  void follow(const torch::jit::Node* node);
  void pass_on(const torch::jit::Node* node);
  // Of one output; undefined where it is not known.
  at::Tensor result_of(const torch::jit::Node* node, const torch::jit::Value* output);
  at::Tensor of_padding(const torch::jit::Node* node) const;
  // `rows`, `columns`: of what is made of it.
  bool is_whole_image(const at::Tensor& plane, int64_t rows, int64_t columns);
  at::Tensor of_window(const torch::jit::Node* node, const std::vector<int64_t>& sizes);
  // Of planes [planes, rows, columns] that are each a part of the image: even grids of so many rows and columns over the same parts.
  at::Tensor over_parts(const at::Tensor& planes, int64_t rows, int64_t columns);
  // Of pooling by windows that neither overlap nor leave anything out.
  at::Tensor of_blocks(const torch::jit::Node* node, const at::Tensor& from, const std::vector<int64_t>& sizes);
  // Of windows along the last axis.
  at::Tensor of_line(const torch::jit::Node* node, const at::Tensor& from, const std::vector<int64_t>& sizes);
  at::Tensor of_folding(const torch::jit::Node* node, const std::vector<int64_t>& sizes);
  at::Tensor of_quantized_cat(const torch::jit::Node* node) const;
  at::Tensor of_attended(const at::Tensor& query, const at::Tensor& value, bool& conflicts) const;
  at::Tensor of_product(const at::Tensor& a, const at::Tensor& b, const torch::jit::Value* output);
  at::Tensor of_einsum(const torch::jit::Node* node, const torch::jit::Value* output);
  at::Tensor of_reduction(const torch::jit::Node* node, const std::vector<int64_t>& sizes);
  // Of what is computed from one place only, whatever the operator does.
  at::Tensor of_one_place(const torch::jit::Node* node, const torch::jit::Value* output);
  // Whether an operator of one tensor that depends on the image is pointwise.
  bool is_proven_pointwise(const torch::jit::Node* node) const;
  at::Tensor of_elementwise(const torch::jit::Node* node, const torch::jit::Value* output,
                            const std::vector<int64_t>& sizes);
  // A tensor's places: zeros where it does not depend on the image.
  at::Tensor places_of(const torch::jit::Value* value) const;
  // The same of a list of tensors; none where one of them is not known.
  std::optional<std::vector<at::Tensor>> list_of(const torch::jit::Value* value) const;
  bool depends(const torch::jit::Value* value) const { return dependent_.count(value) != 0; }
  bool run(const torch::jit::Node* node, bool on_places);

  double height_, width_;
  const torch::jit::Node* followed_ =
      nullptr;              // lists are as they are when it runs; once all have run, as they are at the end
  std::vector<Box> boxes_;  // by number; 0 is no place
  std::map<std::array<int64_t, 4>, int64_t> numbers_;
  std::map<std::pair<int64_t, int64_t>, at::Tensor> grids_;
  std::unordered_set<const torch::jit::Value*> dependent_;  // on the image
  std::unordered_set<const torch::jit::Value*> pairs_;
  // Of values that depend on the image, tensors of places (or lists of them); of others, what they are.
  std::unordered_map<const torch::jit::Value*, c10::IValue> known_;
};

}  // namespace sightline
