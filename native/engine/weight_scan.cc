#include "engine/weight_scan.h"

#include <ATen/Parallel.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace sightline {

namespace {

constexpr size_t kNamed = 3;
constexpr int64_t kGrain = 1 << 18;

// A constant number of turns, which compilers make vector code of at every level of optimisation.
constexpr int64_t kBlock = 256;

// All bits of the exponent set: NaN or an infinity.
template <typename Bits, Bits kExponent>
bool has_non_finite(const void* data, int64_t count) {
  const auto* bits = static_cast<const Bits*>(data);
  std::atomic<bool> found{false};
  at::parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) {
    Bits any = 0;
    int64_t i = begin;
    for (; i + kBlock <= end; i += kBlock) {
      Bits here = 0;
      for (int64_t j = 0; j < kBlock; ++j)
        here |= static_cast<Bits>(-static_cast<Bits>((bits[i + j] & kExponent) == kExponent));
      any |= here;
    }
    for (; i < end; ++i) any |= static_cast<Bits>((bits[i] & kExponent) == kExponent);
    if (any != 0) found = true;
  });
  return found;
}

bool can_be_odd(const at::Tensor& tensor) {
  return tensor.defined() && tensor.is_floating_point() && !tensor.is_quantized() && tensor.numel() > 0;
}

// A skeleton's tensors are one element, expanded: each is looked at once.
at::Tensor without_repeats(at::Tensor tensor) {
  for (int64_t axis = 0; axis < tensor.dim(); ++axis) {
    if (tensor.stride(axis) == 0) tensor = tensor.narrow(axis, 0, 1);
  }
  return tensor;
}

bool is_odd_on_host(at::Tensor tensor) {
  tensor = without_repeats(std::move(tensor));
  if (!tensor.is_non_overlapping_and_dense()) tensor = tensor.contiguous();
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return has_non_finite<uint32_t, 0x7f800000u>(tensor.const_data_ptr(), tensor.numel());
    case at::kBFloat16:
      return has_non_finite<uint16_t, 0x7f80u>(tensor.const_data_ptr(), tensor.numel());
    case at::kHalf:
      return has_non_finite<uint16_t, 0x7c00u>(tensor.const_data_ptr(), tensor.numel());
    case at::kDouble:
      return has_non_finite<uint64_t, 0x7ff0000000000000u>(tensor.const_data_ptr(), tensor.numel());
    default:
      return false;
  }
}

}  // namespace

std::vector<std::string> odd_weights(const torch::jit::Module& module) {
  at::NoGradGuard no_gradients;
  std::vector<std::string> names, elsewhere;
  std::vector<at::Tensor> are_finite;  // of `elsewhere`: one number each, where its tensor lies
  const auto look = [&](const std::string& name, const at::Tensor& tensor) {
    if (!can_be_odd(tensor)) return;
    if (!tensor.is_cpu()) {
      elsewhere.push_back(name);
      are_finite.push_back(without_repeats(tensor).isfinite().all());
    } else if (is_odd_on_host(tensor)) {
      names.push_back(name);
    }
  };
  for (const auto& [name, tensor] : module.named_parameters()) look(name, tensor);
  for (const auto& [name, tensor] : module.named_buffers()) look(name, tensor);
  if (!elsewhere.empty()) {
    // Fetched together: each fetch waits for the device.
    const auto fetched = at::stack(are_finite).cpu();
    for (size_t i = 0; i < elsewhere.size(); ++i) {
      if (!fetched.const_data_ptr<bool>()[i]) names.push_back(elsewhere[i]);
    }
  }
  if (names.empty()) return {};
  std::string sentence = "There is NaN or an infinity in ";
  for (size_t i = 0; i < std::min(names.size(), kNamed); ++i) sentence += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kNamed) sentence += " and " + std::to_string(names.size() - kNamed) + " other weights";
  return {sentence + "; scores and maps may be NaN."};
}

}  // namespace sightline
