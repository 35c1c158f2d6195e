#include "engine/weight_scan.h"

#include <ATen/Parallel.h>

namespace sightline {

namespace {

constexpr size_t kNamed = 3;
constexpr int64_t kGrain = 1 << 18;

// All bits of the exponent set: NaN or an infinity. Without a branch in the loop, so that it becomes vector code; the
// largest exponent is as good a witness as a count, and cheaper.
template <typename Bits, Bits kExponent>
bool has_non_finite(const void* data, int64_t count) {
  const auto* bits = static_cast<const Bits*>(data);
  std::atomic<bool> found{false};
  at::parallel_for(0, count, kGrain, [&](int64_t begin, int64_t end) {
    Bits largest = 0;
    for (int64_t i = begin; i < end; ++i) {
      const Bits exponent = bits[i] & kExponent;
      largest = exponent > largest ? exponent : largest;
    }
    if (largest == kExponent) found = true;
  });
  return found;
}

bool is_odd(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_floating_point() || tensor.is_quantized() || tensor.numel() == 0) return false;
  // The elements that its storage holds between the first and the last, for tensors that are one piece of it. A skeleton's
  // tensors are one element, expanded.
  if (!tensor.device().is_cpu() || !tensor.is_non_overlapping_and_dense()) {
    return !(tensor * 0).sum(at::kFloat).eq(0).item<bool>();
  }
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
  std::vector<std::string> names;
  for (const auto& [name, tensor] : module.named_parameters()) {
    if (is_odd(tensor)) names.push_back(name);
  }
  for (const auto& [name, tensor] : module.named_buffers()) {
    if (is_odd(tensor)) names.push_back(name);
  }
  if (names.empty()) return {};
  std::string sentence = "There is NaN or an infinity in ";
  for (size_t i = 0; i < std::min(names.size(), kNamed); ++i) sentence += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > kNamed) sentence += " and " + std::to_string(names.size() - kNamed) + " other weights";
  return {sentence + "; scores and maps may be NaN."};
}

}  // namespace sightline
