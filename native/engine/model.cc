#include "engine/model.h"

#include <ATen/ops/zeros.h>
#include <c10/core/DeviceType.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/cuda.h>

#include <algorithm>

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
  if (reason.find("not a ZIP archive") != std::string::npos ||
      reason.find("failed finding central directory") != std::string::npos) {
    return "it is no archive, or a truncated one; export the model with torch.jit.trace(...).save(...), or copy it "
           "again";
  }
  if (reason.find("required keyword attribute 'value' is undefined") != std::string::npos) {
    return "it was saved after torch.jit.optimize_for_inference, which cannot be loaded; save the plain trace";
  }
  if (reason.find("Unknown builtin op") != std::string::npos ||
      reason.find("Could not find any similar ops") != std::string::npos) {
    return "it uses an operator that LibTorch does not have: " + reason.substr(0, reason.find('\n'));
  }
  if (reason.find("torch.classes.") != std::string::npos) {
    return "it has objects of a class that LibTorch does not have here; save the plain trace, before it is optimized "
           "for a "
           "device or a library";
  }
  return reason.substr(0, reason.find('\n'));
}

EngineError too_large(const std::string& path, const std::exception& error) {
  return {
      "OUT_OF_MEMORY",
      path + ": too little memory is free for the weights of the model; close other models, or give the process more.",
      plain_message(error)};
}

torch::jit::Module read_archive(const LoadOptions& options, at::Device device) {
  torch::jit::Module module;
  try {
    // Without debug files: they serve Python tracebacks only, and their reader is the archive format's weakest part.
    module = torch::jit::load(options.file.empty() ? options.path : options.file, device, /*load_debug_files=*/false);
  } catch (const std::exception& error) {
    // Memory that runs out is no fault of the archive.
    if (translate_current_exception("NOT_TORCHSCRIPT", options.path).code() == "OUT_OF_MEMORY") {
      throw too_large(options.path, error);
    }
    const auto reason = plain_message(error);
    throw EngineError(
        "NOT_TORCHSCRIPT",
        options.path + " is not a TorchScript archive that can be loaded: " + explain_load_failure(reason) + ".",
        reason);
  }
  check_object_types(module, options.path);
  if (!options.trusted) check_operators(module, options.path);
  return module;
}

// Nothing in a program is code, so nothing in it needs trust: what only computes is all that it may hold.
torch::jit::Module read_program(const LoadOptions& options, at::Device device, at::ScalarType dtype) {
  try {
    const auto built = build_program(*options.program, options.path, device, dtype);
    check_operators(built.module, options.path, /*trust_helps=*/false);
    mark_outputs(built);
    return built.module;
  } catch (const EngineError&) {
    throw;
  } catch (const std::exception& error) {
    if (translate_current_exception("UNSUPPORTED_MODEL", options.path).code() == "OUT_OF_MEMORY") {
      throw too_large(options.path, error);
    }
    throw EngineError("UNSUPPORTED_MODEL", options.path + " cannot be read as a program: " + plain_message(error) + ".",
                      plain_message(error));
  }
}

}  // namespace

std::vector<std::string> other_devices() {
  std::vector<std::string> names;
  if (!c10::is_privateuse1_backend_registered()) return names;
  const auto backend = c10::get_privateuse1_backend();
  const c10::impl::VirtualGuardImpl guard(at::kPrivateUse1);
  for (int i = 0; i < guard.deviceCount(); ++i) names.push_back(backend + ":" + std::to_string(i));
  return names;
}

at::Device resolve_device(const std::string& name) {
  const bool has_cuda = torch::cuda::is_available();
  if (name == "cpu") return at::kCPU;
  if (name == "auto") return has_cuda ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
  const auto others = other_devices();
  if (std::find(others.begin(), others.end(), name) != others.end()) return at::Device(name);
  if (name.rfind("cuda", 0) != 0) {
    throw EngineError("INVALID_OPTION", "There is no device '" + name + "'; use auto, cpu, cuda or cuda:N.");
  }
  if (!has_cuda) {
    throw EngineError("DEVICE_UNAVAILABLE",
                      "Device '" + name +
                          "' was asked for, but this LibTorch finds no CUDA GPU; run `sightline doctor`, "
                          "or use device 'auto' or 'cpu'.");
  }
  int64_t index = 0;
  if (name.size() > 4) {
    const auto digits = name.substr(5);
    if (name[4] != ':' || digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos ||
        digits.size() > 3) {
      throw EngineError("INVALID_OPTION", "There is no device '" + name + "'; use auto, cpu, cuda or cuda:N.");
    }
    index = std::stoll(digits);
  }
  // A DeviceIndex is a char, and a count is not negative.
  const auto count = static_cast<int64_t>(static_cast<unsigned char>(torch::cuda::device_count()));
  if (index >= count) {
    throw EngineError("DEVICE_UNAVAILABLE", "Device '" + name + "' was asked for, but there are " +
                                                std::to_string(count) + " CUDA GPUs, numbered from 0.");
  }
  return {at::kCUDA, static_cast<c10::DeviceIndex>(index)};
}

Model::Model(const LoadOptions& options, at::Device device)
    : device_(device),
      dtype_(parse_dtype(options.dtype)),
      trusted_(options.trusted),
      choice_(options.choice),
      usual_output_(options.choice.output),
      channels_(options.channels),
      allows_captures_(options.cuda_graphs) {
  if (options.optimize) weights_ = std::make_shared<PreparedWeights>();
  if (options.program) {
    module_ = read_program(options, device, dtype_);
    choice_.is_for_one_image = options.program->is_for_one_image;
  } else {
    module_ = read_archive(options, device);
  }
  if (options.weights) {
    try {
      set_weights(module_, *options.weights, device_, dtype_);
    } catch (const std::bad_alloc& error) {
      throw too_large(options.path, error);
    } catch (const c10::OutOfMemoryError& error) {
      throw too_large(options.path, error);
    }
  }
  if (options.shuffling) shuffle_weights(module_, *options.shuffling);
  module_.eval();
  self_ = module_._ivalue();
  const auto settle = [&](at::Tensor tensor) {
    if (!tensor.defined()) return;
    // Parameters never get gradients: explanations ask for those of activations only.
    if (tensor.is_leaf()) tensor.set_requires_grad(false);
    // Not Module::to(dtype), which would turn Swin's integer index buffers into floats.
    if (tensor.is_floating_point() && tensor.scalar_type() != dtype_ && !tensor.is_quantized())
      tensor.set_data(tensor.to(dtype_));
    weight_bytes_ += static_cast<int64_t>(tensor.nbytes());
  };
  for (const auto& tensor : module_.parameters()) settle(tensor);
  for (const auto& tensor : module_.buffers()) settle(tensor);
  remarks_ = odd_weights(module_);
}

bool Model::has_network(int64_t height, int64_t width, const std::string& output) const {
  return std::any_of(networks_.begin(), networks_.end(),
                     [&](const Sized& each) { return is_of(each, {height, width}, output); });
}

bool Model::is_of(const Sized& each, const std::pair<int64_t, int64_t>& size, const std::string& output) const {
  const bool is_usual = output.empty() || output == usual_output_;
  return each.size == size && (is_usual ? each.is_usual : each.network->info().output == output);
}

Network& Model::network(int64_t height, int64_t width, const std::string& output) {
  const auto size = std::make_pair(height, width);
  const bool is_usual = output.empty() || output == usual_output_;
  for (auto it = networks_.begin(); it != networks_.end(); ++it) {
    if (!is_of(*it, size, output)) continue;
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
  auto choice = choice_;
  if (!is_usual) {
    choice.output = output;
    choice.scores.clear();  // said of the usual one
  }
  networks_.push_front({size, is_usual, std::make_unique<Network>(module_, example, weights_, choice), nullptr});
  if (is_usual) usual_output_ = networks_.front().network->info().output;
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
