// Operations on values place by place.
#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/detach.h>
#include <ATen/ops/div.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/floor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/log.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/neg.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/square.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/where.h>

#include "engine/steps/operation_builders.h"

namespace sightline {

namespace {

// A number in an operand's place, on the operands' device: a GPU would have to wait for one that comes from the CPU.
at::Tensor number_like(const at::Tensor& like, double number) {
  return at::full({}, number, like.options().dtype(at::kFloat));
}

// Of two operands either may be a number: the setting `left` or `right`.
Operation with_number(at::Tensor (*function)(const at::Tensor&, const at::Tensor&)) {
  return reading({1, 2}, [function](const Tensors& in, const Attributes& set) {
    if (in.size() == 2) return function(in[0], in[1]);
    if (set.has("left")) return function(number_like(in[0], set.number("left")), in[0]);
    return function(in[0], number_like(in[0], set.number("right")));
  });
}

// The condition first, then what is no number.
at::Tensor chosen(const Tensors& in, const Attributes& set) {
  size_t next = 1;
  const auto operand = [&](const char* name) {
    return set.has(name) ? number_like(in[0], set.number(name)) : in.at(next++);
  };
  const auto then = operand("left");
  return at::where(in[0] != 0, then, operand("right"));
}

}  // namespace

Operations elementwise_operations() {
  return {
      {"abs", unary(&at::abs)},
      {"cos", unary(&at::cos)},
      {"detach", unary(&at::detach)},
      {"exp", unary(&at::exp)},
      {"floor", unary(&at::floor)},
      {"log", unary(&at::log)},
      {"neg", unary(&at::neg)},
      {"relu", unary(&at::relu)},
      {"sigmoid", unary(&at::sigmoid)},
      {"sign", unary(&at::sign)},
      {"sin", unary(&at::sin)},
      {"sqrt", unary(&at::sqrt)},
      {"square", unary(&at::square)},
      {"tanh", unary(&at::tanh)},
      {"clamp", unary([](const at::Tensor& x, const Attributes& set) {
         return x.clamp(set.number("low"), set.number("high"));
       })},
      {"full_like", unary([](const at::Tensor& x, const Attributes& set) {
         return at::full_like(x, set.number("value"), x.options().dtype(at::kFloat));
       })},
      {"not", unary([](const at::Tensor& x, const Attributes&) { return (x == 0).to(at::kFloat); })},
      {"power", unary([](const at::Tensor& x, const Attributes& set) { return x.pow(set.number("exponent")); })},
      // Of whole numbers, which stay whole: samples are numbered by int64.
      {"quotient",
       unary([](const at::Tensor& x, const Attributes& set) { return x.floor_divide(set.integer("divisor")); })},
      {"remainder",
       unary([](const at::Tensor& x, const Attributes& set) { return x.remainder(set.integer("divisor")); })},
      {"scale", unary([](const at::Tensor& x, const Attributes& set) { return x * set.number("factor"); })},
      {"shift", unary([](const at::Tensor& x, const Attributes& set) { return x + set.number("by"); })},
      // A leaf: what is computed from it is recorded, as far as a gradient needs it.
      {"variable",
       unary([](const at::Tensor& x, const Attributes&) { return x.detach().clone().requires_grad_(true); })},

      {"add", binary([](const at::Tensor& a, const at::Tensor& b) { return a + b; })},
      {"div", with_number(&at::div)},
      {"equal", with_number([](const at::Tensor& a, const at::Tensor& b) { return (a == b).to(at::kFloat); })},
      {"greater", with_number([](const at::Tensor& a, const at::Tensor& b) { return (a > b).to(at::kFloat); })},
      {"greater_equal", with_number([](const at::Tensor& a, const at::Tensor& b) { return (a >= b).to(at::kFloat); })},
      {"maximum", with_number(&at::maximum)},
      {"minimum", with_number(&at::minimum)},
      {"mul", binary(&at::mul)},
      {"sub", with_number([](const at::Tensor& a, const at::Tensor& b) { return a - b; })},
      {"where", reading({1, 3}, chosen)},
  };
}

}  // namespace sightline
