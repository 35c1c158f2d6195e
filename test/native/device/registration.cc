// What LibTorch has to be told of the emulated device, and the few operators that no CPU kernel does.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/ops/_fused_sdp_choice.h>
#include <ATen/ops/_local_scalar_dense.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <torch/library.h>

#include <cstring>
#include <sstream>

#include "device/by_cpu.h"
#include "device/device.h"
#include "device/memory.h"
#include "device/streams.h"

namespace sightline::test {

namespace {

// Draws the CPU's numbers: a generator of the device's own in name only.
class DeviceGenerator : public at::CPUGeneratorImpl {
 public:
  explicit DeviceGenerator(at::DeviceIndex index) { device_ = emulated(index); }
};

struct Hooks : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(at::DeviceIndex) const override { return true; }
  at::DeviceIndex deviceCount() const override { return kDeviceCount; }
  at::Device getDeviceFromPtr(void*) const override { return current_device(); }
  bool isPinnedPtr(const void* data) const override { return is_pinned_memory(data); }
  at::Allocator* getPinnedMemoryAllocator() const override { return pinned_allocator(); }
  at::Generator getNewGenerator(at::DeviceIndex index) const override {
    return at::make_generator<DeviceGenerator>(index < 0 ? current_device().index() : index);
  }
  const at::Generator& getDefaultGenerator(at::DeviceIndex index) const override {
    static auto* all = new std::vector<at::Generator>{getNewGenerator(0), getNewGenerator(1)};
    return all->at(index < 0 ? current_device().index() : index);
  }
};

at::Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                         std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  const c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_strided_generic(
      size, stride, device_allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), dtype.value_or(at::kFloat));
}

at::Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                 std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  const c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_generic(size, device_allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   dtype.value_or(at::kFloat), format);
}

std::string shape_of(const at::Tensor& tensor) {
  std::ostringstream text;
  text << tensor.scalar_type() << tensor.sizes();
  return text.str();
}

// Copies own the host's side until they are done, as LibTorch's allocator of page-locked memory sees to. The device's
// side they know by its address alone: whose it is by then is a matter of record_stream.
at::Tensor upload(const at::Tensor& from, const at::Tensor& to, bool is_late) {
  const auto device = to.device();
  if (is_late) {
    const auto turn = next_turn(device);
    note_use(to.storage().data(), turn, Use::Write, "a copy");
    hand_over_late(turn.stream, [from, address = kernel_address(to.data_ptr())] {
      std::memcpy(address, from.data_ptr(), from.nbytes());
    });
    return to;
  }
  note_upload(shape_of(from));
  catch_up(device);
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    Lent lent(device, "a copy");
    lent.to_cpu(to, Use::Write).copy_(from);
  }
  host_waits(device);
  return to;
}

at::Tensor download(const at::Tensor& from, const at::Tensor& to, bool is_late) {
  const auto device = from.device();
  if (is_late) {
    const auto turn = next_turn(device);
    const bool is_there = note_use(from.storage().data(), turn, Use::Read, "a copy");
    const auto bytes = std::make_shared<std::vector<char>>(from.nbytes(), static_cast<char>(kNobodysValue));
    hand_over_late(turn.stream, [bytes, is_there, address = kernel_address(from.data_ptr())] {
      if (is_there) std::memcpy(bytes->data(), address, bytes->size());
    });
    land(turn, bytes, to);
    return to;
  }
  note_read_back("copy");
  host_waits(device);
  const at::AutoDispatchBelowADInplaceOrView below;
  Lent lent(device, "a copy");
  to.copy_(lent.to_cpu(from));
  host_waits(device);
  return to;
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  const std::lock_guard lock(device_mutex());
  if (from.numel() == 0) return to;
  // A copy of strided values, or of another type, needs a temporary tensor on the device, and is waited for.
  const bool is_plain = from.is_contiguous() && to.is_contiguous() && from.scalar_type() == to.scalar_type();
  const auto& host = from.is_cpu() ? from : to;
  const bool is_late = non_blocking && is_plain && host.is_cpu() && is_pinned_memory(host.storage().data());
  if (from.is_cpu()) return upload(from, to, is_late);
  if (to.is_cpu()) return download(from, to, is_late);
  TORCH_CHECK(from.device() == to.device(), "the emulated devices do not copy to one another");
  catch_up(from.device());
  const at::AutoDispatchBelowADInplaceOrView below;
  Lent lent(from.device(), "a copy");
  const auto source = lent.to_cpu(from);
  lent.to_cpu(to, Use::Write).copy_(source);
  return to;
}

at::Scalar local_scalar(const at::Tensor& tensor) {
  const std::lock_guard lock(device_mutex());
  note_read_back("item");
  host_waits(tensor.device());
  const at::AutoDispatchBelowADInplaceOrView below;
  Lent lent(tensor.device(), "item");
  return at::_local_scalar_dense(lent.to_cpu(tensor));
}

void record_stream(at::Tensor& tensor, at::Stream stream) {
  note_stream(tensor.storage().data(), {stream.device_index(), stream.id()});
}

void require_same(at::Device device, const char* name, std::initializer_list<at::Tensor> others) {
  for (const auto& other : others)
    TORCH_CHECK(!other.defined() || other.device() == device, name, ": an argument lies on ", other.device(),
                ", but another one on ", device);
}

// Other backends than LibTorch's own have a convolution of their own; here it is the CPU's again.
at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                       at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
                       at::IntArrayRef output_padding, int64_t groups) {
  require_same(input.device(), "aten::convolution", {weight, bias.value_or(at::Tensor())});
  const std::lock_guard lock(device_mutex());
  catch_up(input.device());
  const at::AutoDispatchBelowADInplaceOrView below;
  Lent lent(input.device(), "aten::convolution");
  const auto bias_there = bias && bias->defined() ? std::optional(lent.to_cpu(*bias)) : std::nullopt;
  return lent.to_device(at::convolution(lent.to_cpu(input), lent.to_cpu(weight), bias_there, stride, padding, dilation,
                                        transposed, output_padding, groups));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(const at::Tensor& slope, const at::Tensor& input,
                                                                    const at::Tensor& weight, at::IntArrayRef stride,
                                                                    at::IntArrayRef padding, at::IntArrayRef dilation,
                                                                    bool transposed, at::IntArrayRef output_padding,
                                                                    int64_t groups, std::array<bool, 3> mask) {
  require_same(input.device(), "aten::convolution_backward", {slope, weight});
  const std::lock_guard lock(device_mutex());
  catch_up(input.device());
  const at::AutoDispatchBelowADInplaceOrView below;
  Lent lent(input.device(), "aten::convolution_backward");
  const auto [a, b, c] = at::convolution_backward(
      lent.to_cpu(slope), lent.to_cpu(input), lent.to_cpu(weight),
      mask[2] ? at::OptionalIntArrayRef(weight.sizes().slice(0, 1)) : at::OptionalIntArrayRef(), stride, padding,
      dilation, transposed, output_padding, groups, mask);
  return {lent.to_device(a), lent.to_device(b), lent.to_device(c)};
}

int64_t attention_choice(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                         const std::optional<at::Tensor>& mask, double dropout, bool is_causal,
                         std::optional<double> scale, bool enable_gqa) {
  const std::lock_guard lock(device_mutex());
  Lent lent(query.device(), "aten::_fused_sdp_choice");
  std::optional<at::Tensor> mask_there;
  if (mask && mask->defined()) mask_there = lent.view_on_cpu(*mask);
  return at::_fused_sdp_choice(lent.view_on_cpu(query), lent.view_on_cpu(key), lent.view_on_cpu(value), mask_there,
                               dropout, is_causal, scale, enable_gqa);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", TORCH_FN(empty));
  m.impl("empty_strided", TORCH_FN(empty_strided));
  m.impl("_copy_from", TORCH_FN(copy_from));
  m.impl("_local_scalar_dense", TORCH_FN(local_scalar));
  m.impl("record_stream", TORCH_FN(record_stream));
  m.impl("convolution_overrideable", TORCH_FN(convolution));
  m.impl("convolution_backward_overrideable", TORCH_FN(convolution_backward));
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&run_by_cpu>()); }

bool takes_device(const c10::FunctionSchema& schema) {
  for (const auto& argument : schema.arguments()) {
    if (argument.name() == "device") return true;
  }
  return false;
}

// Where the CPU has a kernel of its own, LibTorch's general one may compute the same in another order: the CPU's is
// taken.
void take_kernels_of_cpu() {
  static auto* library =
      new torch::Library(torch::Library::IMPL, "aten", c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const auto& name : dispatcher.getAllOpNames()) {
    if (name.name.rfind("aten::", 0) != 0) continue;
    const auto op = dispatcher.findOp(name);
    if (!op || !op->hasSchema() || !op->hasKernelForDispatchKey(c10::DispatchKey::CPU) ||
        op->hasKernelForDispatchKey(c10::DispatchKey::PrivateUse1) || takes_device(op->schema())) {
      continue;
    }
    const auto full = name.name.substr(6) + (name.overload_name.empty() ? "" : "." + name.overload_name);
    library->impl(full.c_str(), torch::CppFunction::makeFromBoxedFunction<&run_by_cpu>());
  }
}

}  // namespace

void start_device() {
  static const bool is_started = [] {
    at::RegisterPrivateUse1HooksInterface(new Hooks);
    // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDeleteLeaks): LibTorch keeps the hooks.
    c10::register_privateuse1_backend("emulated");
    c10::SetAllocator(at::kPrivateUse1, device_allocator());
    take_kernels_of_cpu();
    return true;
  }();
  TORCH_CHECK(is_started);
}

}  // namespace sightline::test

namespace at::native {
REGISTER_PRIVATEUSE1_DISPATCH(_fused_sdp_choice_stub, &sightline::test::attention_choice)
}
