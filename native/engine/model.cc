#include "engine/model.h"

#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/cuda.h>

#include "engine/errors.h"
#include "engine/graph/image_axes.h"
#include "engine/graph/inlining.h"
#include "engine/guard/allow_list.h"
#include "engine/guard/object_types.h"
#include "engine/guard/trace_limit.h"
#include "engine/weight_scan.h"

namespace sightline {

namespace {

constexpr size_t kKeptSizes = 8;
constexpr int64_t kUsualChannels = 3;

at::ScalarType parse_dtype(const std::string& name) {
  if (name == "f32") return at::kFloat;
  if (name == "bf16") return at::kBFloat16;
  if (name == "f16") return at::kHalf;
  throw EngineError("INVALID_OPTION", "There is no dtype '" + name + "'; use f32, bf16 or f16.");
}

// What LibTorch's reader says, as what the user has done.
std::string explain_load_failure(const std::string& reason) {
  if (reason.find("constants.pkl") != std::string::npos) {
    return "it holds weights only (torch.save); export the model with torch.jit.trace(...).save(...)";
  }
  if (reason.find("not a ZIP archive") != std::string::npos || reason.find("failed finding central directory") != std::string::npos) {
    return "it is no archive, or a truncated one; export the model with torch.jit.trace(...).save(...), or copy it again";
  }
  if (reason.find("required keyword attribute 'value' is undefined") != std::string::npos) {
    return "it was saved after torch.jit.optimize_for_inference, which cannot be loaded; save the plain trace";
  }
  if (reason.find("Unknown builtin op") != std::string::npos || reason.find("Could not find any similar ops") != std::string::npos) {
    return "it uses an operator that LibTorch does not have: " + reason.substr(0, reason.find('\n'));
  }
  return reason.substr(0, reason.find('\n'));
}

}  // namespace

at::Device resolve_device(const std::string& name) {
  const bool has_cuda = torch::cuda::is_available();
  if (name == "cpu") return at::kCPU;
  if (name == "auto") return has_cuda ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
  if (name.rfind("cuda", 0) != 0) {
    throw EngineError("INVALID_OPTION", "There is no device '" + name + "'; use auto, cpu, cuda or cuda:N.");
  }
  if (!has_cuda) {
    throw EngineError("DEVICE_UNAVAILABLE",
                      "Device '" + name + "' was asked for, but this LibTorch finds no CUDA GPU; run `sightline doctor`, "
                      "or use device 'auto' or 'cpu'.");
  }
  int64_t index = 0;
  if (name.size() > 4) {
    const auto digits = name.substr(5);
    if (name[4] != ':' || digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos || digits.size() > 3) {
      throw EngineError("INVALID_OPTION", "There is no device '" + name + "'; use auto, cpu, cuda or cuda:N.");
    }
    index = std::stoll(digits);
  }
  const auto count = static_cast<int64_t>(torch::cuda::device_count());
  if (index >= count) {
    throw EngineError("DEVICE_UNAVAILABLE", "Device '" + name + "' was asked for, but there are " + std::to_string(count) +
                                                " CUDA GPUs, numbered from 0.");
  }
  return {at::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

Model::Model(const LoadOptions& options, at::Device device)
    : device_(device),
      dtype_(parse_dtype(options.dtype)),
      trusted_(options.trusted),
      choice_(options.choice),
      channels_(options.channels),
      allows_captures_(options.cuda_graphs) {
  if (options.optimize) weights_ = std::make_shared<PreparedWeights>();
  try {
    // Without debug files: they serve Python tracebacks only, and their reader is the archive format's weakest part.
    module_ = torch::jit::load(options.file.empty() ? options.path : options.file, device, /*load_debug_files=*/false);
  } catch (const std::exception& error) {
    // Memory that runs out is no fault of the archive.
    const auto translated = translate_current_exception("NOT_TORCHSCRIPT", options.path);
    if (translated.code() == "OUT_OF_MEMORY") throw translated;
    const auto reason = plain_message(error);
    throw EngineError("NOT_TORCHSCRIPT", options.path + " is not a TorchScript archive that can be loaded: " +
                                             explain_load_failure(reason) + ".",
                      reason);
  }
  check_object_types(module_, options.path);
  if (!trusted_) check_operators(module_, options.path);
  if (options.weights) {
    try {
      set_weights(module_, *options.weights, device_, dtype_);
    } catch (const std::bad_alloc&) {
      throw translate_current_exception("OUT_OF_MEMORY", options.path);
    } catch (const c10::OutOfMemoryError&) {
      throw translate_current_exception("OUT_OF_MEMORY", options.path);
    }
  }
  module_.eval();
  self_ = module_._ivalue();
  const auto settle = [&](at::Tensor tensor) {
    if (!tensor.defined()) return;
    // Parameters never get gradients: explanations ask for those of activations only.
    if (tensor.is_leaf()) tensor.set_requires_grad(false);
    // Not Module::to(dtype), which would turn Swin's integer index buffers into floats.
    if (tensor.is_floating_point() && tensor.scalar_type() != dtype_ && !tensor.is_quantized()) tensor.set_data(tensor.to(dtype_));
    weight_bytes_ += static_cast<int64_t>(tensor.nbytes());
  };
  for (const auto& tensor : module_.parameters()) settle(tensor);
  for (const auto& tensor : module_.buffers()) settle(tensor);
  remarks_ = odd_weights(module_);
}

Network& Model::network(int64_t height, int64_t width) {
  const auto size = std::make_pair(height, width);
  for (auto it = networks_.begin(); it != networks_.end(); ++it) {
    if (it->size != size) continue;
    if (it != networks_.begin()) {
      auto entry = std::move(*it);
      networks_.erase(it);
      networks_.push_front(std::move(entry));
    }
    return *networks_.front().network;
  }
  if (channels_ == 0) {
    const auto axes = read_image_axes(*inline_forward(module_, device_).graph, module_);
    channels_ = axes.channels.value_or(kUsualChannels);
    choice_.is_channels_last = choice_.is_channels_last || axes.is_channels_last;
  }
  const auto example = at::zeros({1, channels_, height, width}, at::TensorOptions().dtype(dtype_).device(device_));
  std::optional<TraceLimit> limit;
  if (!trusted_) limit.emplace();
  networks_.push_front({size, std::make_unique<Network>(module_, example, weights_, choice_), nullptr});
  if (networks_.size() > kKeptSizes) {
    networks_.pop_back();
    if (weights_) weights_->drop_unused();
  }
  return *networks_.front().network;
}

void Model::drop_run_caches() {
  for (auto& sized : networks_) sized.runs.reset();
}

}  // namespace sightline
