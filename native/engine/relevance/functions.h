// What the relevance operators share: registration, widths, and layers in one form.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sightline::relevance {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<Tensor>;

// As in graph_ops.cc: two installations in one process must not define an operator twice. One by one, since an older one
// may have fewer.
template <typename F>
void define(torch::Library& library, const std::string& schema, F* function) {
  const auto name = "sightline::" + schema.substr(0, schema.find('('));
  if (!c10::Dispatcher::singleton().findSchema({name, ""})) library.def(schema.c_str(), function);
}

// y; what arrives goes to x, as if y were x.
Tensor pass_gradient(const Tensor& x, const Tensor& y);

// In float32, where the model's dtype is narrower.
inline Tensor wide(const Tensor& x) { return at::isReducedFloatingType(x.scalar_type()) ? x.to(at::kFloat) : x; }

// Undefined for none, as saved variables are.
inline Tensor saved(const OptionalTensor& x) { return x ? *x : Tensor(); }
inline Tensor wide_or_undefined(const Tensor& x) { return x.defined() ? wide(x) : x; }

inline std::vector<int64_t> last_axes(int64_t count) {
  std::vector<int64_t> axes;
  for (int64_t axis = -count; axis < 0; ++axis) axes.push_back(axis);
  return axes;
}

// A linear layer, or a convolution with its stride, padding, dilation and groups.
struct Layer {
  bool is_convolution = false;
  std::vector<int64_t> stride, padding, dilation;
  int64_t groups = 1;

  void save(AutogradContext* context) const {
    context->saved_data["is_convolution"] = is_convolution;
    context->saved_data["stride"] = stride;
    context->saved_data["padding"] = padding;
    context->saved_data["dilation"] = dilation;
    context->saved_data["groups"] = groups;
  }
  static Layer of(AutogradContext* context) {
    return {context->saved_data["is_convolution"].toBool(), context->saved_data["stride"].toIntVector(),
            context->saved_data["padding"].toIntVector(), context->saved_data["dilation"].toIntVector(),
            context->saved_data["groups"].toInt()};
  }
  // Without its bias.
  Tensor forward(const Tensor& x, const Tensor& weight) const {
    if (!is_convolution) return at::linear(x, weight);
    return at::convolution(x, weight, std::nullopt, stride, padding, dilation, false,
                           std::vector<int64_t>(stride.size(), 0), groups);
  }
  // One number a channel, laid out to be added to outputs like y.
  Tensor of_channels(const Tensor& numbers, const Tensor& y) const {
    if (!is_convolution) return numbers;
    std::vector<int64_t> shape(y.dim(), 1);
    shape[1] = -1;
    return numbers.view(shape);
  }
  // What arrives at the outputs, sent back through the weight to inputs shaped like x.
  Tensor backward(const Tensor& arrived, const Tensor& x, const Tensor& weight) const {
    if (!is_convolution) return at::matmul(arrived, weight);
    return std::get<0>(at::convolution_backward(arrived, x, weight, std::nullopt, stride, padding, dilation, false,
                                                std::vector<int64_t>(stride.size(), 0), groups, {true, false, false}));
  }
};

}  // namespace sightline::relevance
