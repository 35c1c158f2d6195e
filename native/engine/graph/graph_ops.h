// The operators that the engine puts into graphs, and helpers to read graphs.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <unordered_set>
#include <vector>

namespace sightline {

// sightline::mark(Tensor(a) x, str path, int element) -> Tensor(a): returns x; names it while a graph is being straightened. The
// element is the place in the tuple that the module returns, and -1 where it returns x alone.
c10::Symbol mark_symbol();
// sightline::leaf(Tensor x) -> Tensor: cuts the autograd graph at x and makes x its leaf. Without gradients, x.
c10::Symbol leaf_symbol();
// sightline::sketch(Tensor x) -> Tensor: the norm and the sum, two numbers in float64 on the host.
c10::Symbol sketch_symbol();

// What a straight graph's node has an attribute of this name for: it has no derivative, and a backward pass fails there.
c10::Symbol no_derivative();

// The constant that a value holds, following prim::Constant only.
std::optional<c10::IValue> constant_of(const torch::jit::Value* value);
// The sizes that tracing recorded for a value; none where it is not a tensor or has no complete shape.
std::optional<std::vector<int64_t>> recorded_sizes(const torch::jit::Value* value);
std::optional<at::ScalarType> recorded_dtype(const torch::jit::Value* value);
// Of a value with recorded sizes; 0 for others.
int64_t recorded_bytes(const torch::jit::Value* value);

// The nodes that write into a value, such as `append` into a list, in the order in which they run.
std::vector<const torch::jit::Node*> writers_of(const torch::jit::Value* value);
// All that a value is computed from, what was written into it, and itself.
std::unordered_set<const torch::jit::Value*> sources_of(const torch::jit::Value* value);

bool is_tensor(const torch::jit::Value* value);
// Whether the node is `aten::NAME`, whatever its overload.
bool is_aten(const torch::jit::Node* node, const char* name);
bool is_any_of(const torch::jit::Node* node, std::initializer_list<const char*> names);

}  // namespace sightline
