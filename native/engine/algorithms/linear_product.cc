#include "engine/algorithms/linear_product.h"

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/linear.h>

#include <optional>

namespace sightline {

namespace {

using Scalars = c10::List<std::optional<at::Scalar>>;
using OnednnLinear = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                                c10::string_view, Scalars, std::optional<c10::string_view>);

// LibTorch has it for its own compiler, without a header; another version may have it no more.
std::optional<c10::TypedOperatorHandle<OnednnLinear>> find_onednn() {
#ifdef __x86_64__
  __builtin_cpu_init();
  if (!at::hasMKL() || !at::hasMKLDNN() || __builtin_cpu_is("intel") != 0) return std::nullopt;
  const auto schema = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
  if (schema) return schema->typed<OnednnLinear>();
#endif
  return std::nullopt;
}

const std::optional<c10::TypedOperatorHandle<OnednnLinear>>& onednn() {
  static const auto found = find_onednn();
  return found;
}

}  // namespace

bool multiplies_faster_by_onednn() { return onednn().has_value() && at::globalContext().userEnabledMkldnn(); }

at::Tensor linear_product(const at::Tensor& x, const at::Tensor& weight) {
  const bool is_plain = x.is_cpu() && x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat &&
                        weight.dim() == 2 && x.dim() >= 2 && x.numel() > 0;
  if (!is_plain || !multiplies_faster_by_onednn()) return at::linear(x, weight);
  return onednn()->call(x, weight, std::nullopt, "none", Scalars(), "none");
}

}  // namespace sightline
