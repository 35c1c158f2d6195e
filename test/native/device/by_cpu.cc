#include "device/by_cpu.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

#include "device/device.h"

namespace sightline::test {

namespace {

void leave(void*) {}

// Operators whose results have sizes that depend on values: a real device has the host wait for them.
bool reads_values(const std::string& name, const std::vector<at::Tensor>& tensors) {
  static const std::set<std::string> kAlways = {"aten::nonzero",       "aten::masked_select",      "aten::equal",
                                                "aten::_unique2",      "aten::unique_dim",         "aten::_unique",
                                                "aten::is_set_to",     "aten::unique_consecutive", "aten::bincount",
                                                "aten::_assert_async", "aten::repeat_interleave",  "aten::histc"};
  if (kAlways.count(name) != 0) return true;
  if (name != "aten::index" && name != "aten::index_put_" && name != "aten::_index_put_impl_") return false;
  return std::any_of(tensors.begin() + 1, tensors.end(), [](const at::Tensor& tensor) {
    return tensor.scalar_type() == at::kBool || tensor.scalar_type() == at::kByte;
  });
}

// Calls `change` on every tensor inside.
c10::IValue changed(const c10::IValue& value, const std::function<at::Tensor(const at::Tensor&, bool)>& change) {
  if (value.isTensor()) return change(value.toTensor(), /*in_list=*/false);
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& each : value.toTensorVector()) list.push_back(change(each, true));
    return list;
  }
  // Indices: a list of tensors, or of tensors and gaps, whatever the list itself says that it holds.
  if (value.isList()) {
    c10::List<std::optional<at::Tensor>> list;
    const auto elements = value.toListRef();
    for (const c10::IValue& each : elements) {
      if (!each.isTensor() && !each.isNone()) return value;
      list.push_back(each.isTensor() ? std::optional(change(each.toTensor(), true)) : std::nullopt);
    }
    if (!elements.empty()) return list;
  }
  return value;
}

// The values of memory that nobody has waited for.
c10::Storage nobodys_values(size_t bytes) {
  auto data = c10::GetCPUAllocator()->allocate(bytes);
  if (bytes > 0) std::memset(data.get(), kNobodysValue, bytes);
  return c10::Storage(c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), bytes, std::move(data),
                                                            c10::GetCPUAllocator(), /*resizable=*/true));
}

// Its results are its arguments in another shape: nothing is read yet.
bool is_view(const c10::FunctionSchema& schema) {
  return std::any_of(schema.returns().begin(), schema.returns().end(), [](const c10::Argument& result) {
    return result.alias_info() != nullptr && !result.alias_info()->isWrite();
  });
}

}  // namespace

Lent::Lent(at::Device device, std::string name) : device_(device), name_(std::move(name)), turn_(next_turn(device)) {}

c10::Storage Lent::cpu_storage(const c10::Storage& storage) {
  auto& kept = on_cpu_[storage.unsafeGetStorageImpl()];
  if (!kept) {
    if (hidden_.count(storage.unsafeGetStorageImpl()) != 0) {
      kept = nobodys_values(storage.nbytes());
    } else {
      void* data = kernel_address(storage.data());
      kept = c10::Storage(c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), storage.nbytes(),
                                                                c10::DataPtr(data, data, &leave, at::kCPU),
                                                                c10::GetCPUAllocator(), /*resizable=*/true));
    }
    on_device_[kept.unsafeGetStorageImpl()] = storage;
  }
  return kept;
}

c10::DataPtr Lent::new_memory(const void* from, size_t bytes) const {
  const c10::DeviceGuard guard(device_);
  auto data = device_allocator()->allocate(bytes);
  note_use(data.get(), turn_, Use::Write, name_);
  if (bytes > 0) std::memcpy(kernel_address(data.get()), from, bytes);
  return data;
}

c10::Storage Lent::device_storage(const c10::Storage& storage) {
  auto& kept = on_device_[storage.unsafeGetStorageImpl()];
  if (!kept) {
    kept = c10::Storage(c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), storage.nbytes(),
                                                              new_memory(storage.data(), storage.nbytes()),
                                                              device_allocator(), /*resizable=*/true));
    on_cpu_[kept.unsafeGetStorageImpl()] = storage;
  }
  return kept;
}

at::Tensor Lent::view_on_cpu(const at::Tensor& tensor) {
  for (const auto& [there, here] : tensors_) {
    if (there.is_same(tensor)) return here;
  }
  auto here = at::detail::make_tensor<c10::TensorImpl>(cpu_storage(tensor.storage()),
                                                       c10::DispatchKeySet(c10::DispatchKey::CPU), tensor.dtype());
  here.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  if (tensor.is_conj()) here._set_conj(true);
  if (tensor.is_neg()) here._set_neg(true);
  if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) here.unsafeGetTensorImpl()->set_wrapped_number(true);
  tensors_.emplace_back(tensor, here);
  return here;
}

at::Tensor Lent::to_cpu(const at::Tensor& tensor, Use use) {
  if (!note_use(tensor.storage().data(), turn_, use, name_)) hidden_.insert(tensor.storage().unsafeGetStorageImpl());
  return view_on_cpu(tensor);
}

at::Tensor Lent::to_device(const at::Tensor& tensor) {
  if (!tensor.defined()) return tensor;
  for (const auto& [there, here] : tensors_) {
    if (here.is_same(tensor)) return there;
  }
  auto there = at::detail::make_tensor<c10::TensorImpl>(
      device_storage(tensor.storage()), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), tensor.dtype());
  there.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  if (tensor.is_conj()) there._set_conj(true);
  if (tensor.is_neg()) there._set_neg(true);
  return there;
}

void Lent::settle() {
  for (auto& [cpu, device] : std::map(on_device_)) {
    if (hidden_.count(device.unsafeGetStorageImpl()) != 0) continue;
    if (cpu->data() == kernel_address(device.data()) && cpu->nbytes() == device.nbytes()) continue;
    if (cpu->data() == nullptr && device.data() == nullptr) continue;
    device.set_data_ptr_noswap(new_memory(cpu->data(), cpu->nbytes()));
    device.set_nbytes(cpu->nbytes());
  }
  for (const auto& [there, here] : tensors_) {
    auto* impl = there.unsafeGetTensorImpl();
    const auto storage = device_storage(here.storage());
    if (!storage.is_alias_of(there.storage())) impl->set_storage_keep_dtype(storage);
    if (there.sizes() != here.sizes() || there.strides() != here.strides() ||
        there.storage_offset() != here.storage_offset()) {
      impl->set_sizes_and_strides(here.sizes(), here.strides(), here.storage_offset());
    }
  }
}

void run_by_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const auto count = schema.arguments().size();
  const auto first = stack->size() - count;
  std::optional<at::Device> device;
  std::vector<at::Tensor> tensors;
  for (size_t i = first; i < stack->size(); ++i) {
    changed((*stack)[i], [&](const at::Tensor& tensor, bool) {
      if (tensor.defined()) tensors.push_back(tensor);
      if (tensor.defined() && tensor.is_privateuseone() && !device) device = tensor.device();
      return tensor;
    });
  }
  TORCH_CHECK(device, schema.name(), " has no argument on the emulated device");
  const std::lock_guard lock(device_mutex());
  if (reads_values(schema.name(), tensors)) {
    note_read_back(schema.name());
    host_waits(*device);
  }
  catch_up(*device);
  Lent lent(*device, schema.name());
  const bool only_looks = is_view(schema);
  for (size_t i = 0; i < count; ++i) {
    auto& value = (*stack)[first + i];
    const auto* alias = schema.arguments()[i].alias_info();
    const auto use = alias != nullptr && alias->isWrite() ? Use::Write : Use::Read;
    value = changed(value, [&](const at::Tensor& tensor, bool in_list) {
      if (!tensor.defined()) return tensor;
      if (tensor.device() == *device) return only_looks ? lent.view_on_cpu(tensor) : lent.to_cpu(tensor, use);
      TORCH_CHECK(tensor.is_cpu() && tensor.dim() == 0 && !in_list, schema.name(), ": the argument '",
                  schema.arguments()[i].name(), "' lies on ", tensor.device(), ", but another one on ", *device);
      return tensor;
    });
  }
  {
    const at::AutoDispatchBelowADInplaceOrView below;
    op.callBoxed(stack);
  }
  lent.settle();
  for (size_t i = stack->size() - schema.returns().size(); i < stack->size(); ++i)
    (*stack)[i] = changed((*stack)[i], [&](const at::Tensor& tensor, bool) { return lent.to_device(tensor); });
}

}  // namespace sightline::test
