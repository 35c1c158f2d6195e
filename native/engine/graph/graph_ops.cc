#include "engine/graph/graph_ops.h"

#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>

namespace sightline {

namespace {

at::Tensor mark(const at::Tensor& x, std::string /*path*/, int64_t /*element*/) { return x; }

at::Tensor leaf(const at::Tensor& x) { return at::GradMode::is_enabled() ? x.detach().requires_grad_(true) : x; }

struct Sums {
  double squares, numbers;
};

// As many at once as the widest vectors hold: without, each sum would wait for the one before.
constexpr int64_t kLanes = 16;

Sums sums_of(const float* from, int64_t count) {
  std::array<double, kLanes> squares{}, numbers{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double number = from[i + lane];
      squares[lane] += number * number;
      numbers[lane] += number;
    }
  }
  for (; i < count; ++i) {
    const double number = from[i];
    squares[0] += number * number;
    numbers[0] += number;
  }
  Sums sums{0, 0};
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    sums.squares += squares[lane];
    sums.numbers += numbers[lane];
  }
  return sums;
}

at::Tensor sketch(const at::Tensor& x) {
  // Quantised numbers have no float64; whoever reads them is compared.
  if (x.dim() == 0 || x.numel() == 0 || x.is_quantized() || x.is_complex()) return at::zeros({2}, at::kDouble);
  if (!x.is_cpu() || x.scalar_type() == at::kDouble) {
    const auto numbers = x.is_floating_point() ? x : x.to(at::kFloat);
    return at::stack({at::norm(numbers, 2, at::kDouble), numbers.sum(at::kDouble)}).cpu();
  }
  // One pass over the memory, in whatever order the numbers lie: every node of a model is sketched, twice.
  auto numbers = x.to(at::kFloat);
  if (!numbers.is_non_overlapping_and_dense()) numbers = numbers.contiguous();
  const auto* from = numbers.const_data_ptr<float>();
  constexpr int64_t kGrain = 1 << 16;
  const auto sums = at::parallel_reduce(
      0, numbers.numel(), kGrain, Sums{0, 0},
      [&](int64_t begin, int64_t end, const Sums&) { return sums_of(from + begin, end - begin); },
      [](const Sums& a, const Sums& b) { return Sums{a.squares + b.squares, a.numbers + b.numbers}; });
  return at::tensor({std::sqrt(sums.squares), sums.numbers}, at::kDouble);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sightline, library) {
  // Two installations of the package in one process are two copies of this file on one LibTorch, which ends the process
  // when an operator is defined twice. The first copy's serve both; it is never unloaded.
  if (c10::Dispatcher::singleton().findSchema({"sightline::leaf", ""})) return;
  library.def("mark(Tensor(a) x, str path, int element) -> Tensor(a)", &mark);
  library.def("leaf(Tensor x) -> Tensor", &leaf);
  library.def("sketch(Tensor x) -> Tensor", &sketch);
}

c10::Symbol mark_symbol() { return c10::Symbol::fromQualString("sightline::mark"); }
c10::Symbol sketch_symbol() { return c10::Symbol::fromQualString("sightline::sketch"); }
c10::Symbol no_derivative() { return c10::Symbol::attr("no_derivative"); }
c10::Symbol leaf_symbol() { return c10::Symbol::fromQualString("sightline::leaf"); }

std::optional<c10::IValue> constant_of(const torch::jit::Value* value) {
  if (value->node()->kind() != c10::prim::Constant) return std::nullopt;
  return torch::jit::toIValue(value);
}

std::optional<std::vector<int64_t>> recorded_sizes(const torch::jit::Value* value) {
  const auto type = value->type()->cast<c10::TensorType>();
  if (!type) return std::nullopt;
  const auto sizes = type->sizes().concrete_sizes();
  if (!sizes) return std::nullopt;
  return sizes;
}

std::optional<at::ScalarType> recorded_dtype(const torch::jit::Value* value) {
  const auto type = value->type()->cast<c10::TensorType>();
  return type ? type->scalarType() : std::nullopt;
}

int64_t recorded_bytes(const torch::jit::Value* value) {
  const auto sizes = recorded_sizes(value);
  if (!sizes) return 0;
  int64_t elements = 1;
  for (const int64_t size : *sizes) elements *= size;
  return elements * static_cast<int64_t>(c10::elementSize(recorded_dtype(value).value_or(at::kFloat)));
}

namespace {

bool writes_into(const torch::jit::Use& use) {
  const auto* schema = use.user->maybeSchema();
  if (schema == nullptr || use.offset >= schema->arguments().size()) return false;
  const auto* alias = schema->arguments()[use.offset].alias_info();
  return alias != nullptr && alias->isWrite();
}

}  // namespace

std::vector<const torch::jit::Node*> writers_of(const torch::jit::Value* value) {
  std::vector<const torch::jit::Node*> found;
  for (const auto& use : value->uses()) {
    if (writes_into(use)) found.push_back(use.user);
  }
  std::sort(found.begin(), found.end(), [](const auto* a, const auto* b) { return a->isBefore(b); });
  return found;
}

std::unordered_set<const torch::jit::Value*> sources_of(const torch::jit::Value* value) {
  std::unordered_set<const torch::jit::Value*> found{value};
  std::vector<const torch::jit::Value*> queue{value};
  while (!queue.empty()) {
    const torch::jit::Value* next = queue.back();
    queue.pop_back();
    std::vector<const torch::jit::Node*> makers{next->node()};
    for (const torch::jit::Node* writer : writers_of(next)) {
      if (writer->isBefore(value->node())) makers.push_back(writer);
    }
    for (const torch::jit::Node* node : makers) {
      for (const torch::jit::Value* input : node->inputs()) {
        if (found.insert(input).second) queue.push_back(input);
      }
    }
  }
  return found;
}

bool is_tensor(const torch::jit::Value* value) { return value->type()->isSubtypeOf(*c10::TensorType::get()); }

bool is_aten(const torch::jit::Node* node, const char* name) {
  return node->kind().is_aten() && std::strcmp(node->kind().toUnqualString(), name) == 0;
}

bool is_any_of(const torch::jit::Node* node, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (is_aten(node, name)) return true;
  }
  return false;
}

}  // namespace sightline
