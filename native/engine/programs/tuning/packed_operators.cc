#include "engine/programs/tuning/packed_operators.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <c10/core/GradMode.h>
#include <c10/util/accumulate.h>
#include <torch/library.h>

#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace sightline {

namespace {

using Scalars = c10::List<std::optional<at::Scalar>>;

// LibTorch has these operators for its own compiler, without headers.
template <typename Signature>
c10::TypedOperatorHandle<Signature> find(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

at::Tensor run_convolution(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                           const std::optional<at::Tensor>& add, at::IntArrayRef stride, at::IntArrayRef padding,
                           at::IntArrayRef dilation, int64_t groups, bool relu) {
  using Plain =
      at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, at::IntArrayRef,
                 at::IntArrayRef, at::IntArrayRef, int64_t, c10::string_view, Scalars, std::optional<c10::string_view>);
  using Binary =
      at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                 at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, int64_t, c10::string_view,
                 std::optional<at::Scalar>, std::optional<c10::string_view>, Scalars, std::optional<c10::string_view>);
  if (!add) {
    static const auto plain = find<Plain>("mkldnn::_convolution_pointwise");
    return plain.call(x, weight, bias, padding, stride, dilation, groups, relu ? "relu" : "none", Scalars(), "");
  }
  static const auto binary = find<Binary>("mkldnn::_convolution_pointwise", "binary");
  return binary.call(x, *add, weight, bias, padding, stride, dilation, groups, "add", at::Scalar(1.0),
                     relu ? std::optional<c10::string_view>("relu") : std::nullopt, Scalars(), std::nullopt);
}

bool try_out(at::ScalarType dtype) {
  if (!at::globalContext().userEnabledMkldnn() || !at::hasMKLDNN()) return false;
  at::NoGradGuard no_gradients;
  try {
    const auto close = [](const at::Tensor& found, const at::Tensor& expected) {
      return found.sizes() == expected.sizes() && (found.to(at::kFloat) - expected).abs().max().item<double>() < 0.05;
    };
    const auto sum = [](at::IntArrayRef sizes) {
      return at::arange(c10::multiply_integers(sizes), at::kFloat).sin().mul(0.25).view(sizes);
    };
    const auto x = sum({2, 16, 8, 8}), weight = sum({16, 16, 3, 3}), bias = sum({16}), other = sum({2, 16, 8, 8});
    const auto packed = pack_convolution(weight.to(dtype), {1, 1}, {1, 1}, {1, 1}, 1, {2, 16, 8, 8});
    const auto found =
        run_convolution(x.to(dtype), packed, bias.to(dtype), other.to(dtype), {1, 1}, {1, 1}, {1, 1}, 1, true);
    if (!close(found, (at::conv2d(x, weight, bias, 1, 1) + other).relu())) return false;
    const auto rows = sum({2, 5, 64}), matrix = sum({32, 64}), shift = sum({32});
    const auto line = run_packed_linear(rows.to(dtype), pack_linear(matrix.to(dtype), 10), shift.to(dtype), "gelu");
    return close(line, at::gelu(at::linear(rows, matrix, shift)));
  } catch (const std::exception&) {
    // A processor without instructions for the type, or a LibTorch that has renamed them: the plain operators serve.
    return false;
  }
}

}  // namespace

bool has_packed_operators(at::ScalarType dtype) {
  static std::mutex mutex;
  static auto* known = new std::map<at::ScalarType, bool>;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = known->find(dtype);
  if (found != known->end()) return found->second;
  return known->emplace(dtype, try_out(dtype)).first->second;
}

bool outruns_linear(at::ScalarType dtype) {
  if (at::isReducedFloatingType(dtype)) return true;
#ifdef __x86_64__
  __builtin_cpu_init();
  return dtype == at::kFloat && at::hasMKL() && __builtin_cpu_is("intel") == 0;
#else
  return false;
#endif
}

at::Tensor pack_convolution(const at::Tensor& weight, at::IntArrayRef stride, at::IntArrayRef padding,
                            at::IntArrayRef dilation, int64_t groups, at::IntArrayRef input_sizes) {
  using Pack = at::Tensor(const at::Tensor&, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, int64_t,
                          at::OptionalIntArrayRef);
  static const auto pack = find<Pack>("mkldnn::_reorder_convolution_weight");
  return pack.call(weight, padding, stride, dilation, groups, input_sizes);
}

at::Tensor pack_linear(const at::Tensor& weight, int64_t rows) {
  using Pack = at::Tensor(const at::Tensor&, std::optional<int64_t>);
  static const auto pack = find<Pack>("mkldnn::_reorder_linear_weight");
  return pack.call(weight, rows);
}

at::Tensor run_packed_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                             std::string activation) {
  using Plain = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, c10::string_view,
                           Scalars, std::optional<c10::string_view>);
  static const auto plain = find<Plain>("mkldnn::_linear_pointwise");
  const bool is_gelu = activation == "gelu" || activation == "gelu-tanh";
  return plain.call(x, weight, bias, is_gelu ? "gelu" : activation, Scalars(),
                    activation == "gelu-tanh" ? "tanh" : "none");
}

TORCH_LIBRARY_FRAGMENT(sightline, library) {
  // As in graph_ops.cc: a second copy of this file in the process leaves it to the first.
  if (c10::Dispatcher::singleton().findSchema({"sightline::packed_convolution", ""})) return;
  library.def(
      "packed_convolution(Tensor x, Tensor weight, Tensor? bias, Tensor? add, int[] stride, int[] padding, int[] "
      "dilation, "
      "int groups, bool relu) -> Tensor",
      &run_convolution);
  library.def("packed_linear(Tensor x, Tensor weight, Tensor? bias, str activation) -> Tensor", &run_packed_linear);
}

c10::Symbol packed_convolution_symbol() { return c10::Symbol::fromQualString("sightline::packed_convolution"); }
c10::Symbol packed_linear_symbol() { return c10::Symbol::fromQualString("sightline::packed_linear"); }

}  // namespace sightline
