#include "engine/weights.h"

#include <ATen/MapAllocator.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/from_file.h>
#include <c10/core/GradMode.h>
#include <c10/util/accumulate.h>

#include <filesystem>
#include <map>
#include <system_error>
#include <tuple>

#include "engine/errors.h"
#include "engine/graph/graph_ops.h"

namespace sightline {

namespace {

// Weights of a checkpoint are of the first four; a program's buffers also hold indices and masks.
at::ScalarType type_of(const std::string& name, const std::string& tensor, bool only_floating) {
  static const std::map<std::string, at::ScalarType> kTypes = {
      {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"I64", at::kLong},
      {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},  {"U8", at::kByte},       {"BOOL", at::kBool}};
  const auto found = kTypes.find(name);
  if (found == kTypes.end() || (only_floating && !at::isFloatingType(found->second)))
    throw EngineError("INVALID_WEIGHTS",
                      tensor + " is of the type " + name + ", which is not supported; convert it to F32.");
  return found->second;
}

// A file's bytes as a tensor, which keeps the mapping.
at::Tensor mapped(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) throw EngineError("FILE_NOT_FOUND", path + " cannot be read: " + error.message() + ".");
  try {
    // Private: nothing is ever written back.
    return at::from_file(path, /*shared=*/false, static_cast<int64_t>(size), at::TensorOptions().dtype(at::kByte));
  } catch (const std::exception& failure) {
    throw EngineError("FILE_NOT_FOUND", path + " cannot be mapped: " + plain_message(failure) + ".");
  }
}

// Elements from the first to the last one that a tensor reaches; -1 where that is no number.
int64_t extent_of(const TensorPart& part) {
  if (part.strides.empty()) return c10::multiply_integers(part.shape);
  if (part.strides.size() != part.shape.size()) return -1;
  constexpr int64_t kMost = int64_t{1} << 53;
  int64_t last = 0;
  for (size_t axis = 0; axis < part.shape.size(); ++axis) {
    const int64_t steps = part.shape[axis] - 1, stride = part.strides[axis];
    if (steps < 0 || stride < 0 || (stride > 0 && steps > (kMost - last) / stride)) return -1;
    last += steps * stride;
  }
  return last + 1;
}

at::Tensor read_part(const at::Tensor& bytes, const TensorPart& part, const std::string& tensor,
                     bool only_floating = true) {
  const auto type = type_of(part.dtype, tensor, only_floating);
  const auto size = static_cast<int64_t>(c10::elementSize(type));
  const auto extent = extent_of(part);
  const auto length = extent * size;
  // TypeScript has checked the header; the file may be another by now, and a wrong address here would be a crash.
  if (extent < 0 || part.begin < 0 || part.end > bytes.numel() || part.end - part.begin != length) {
    throw EngineError("INVALID_WEIGHTS",
                      tensor + " lies outside its file, which has changed since its header was read; load it again.");
  }
  const auto own = bytes.narrow(0, part.begin, length);
  // A view must begin at a multiple of the element's size, which files need not care for.
  const auto numbers = (part.begin % size == 0 ? own : own.clone()).view(type);
  return part.strides.empty() ? numbers.view(part.shape) : numbers.as_strided(part.shape, part.strides);
}

at::Tensor assembled(const Assignment& assignment, const std::vector<at::Tensor>& files) {
  std::vector<at::Tensor> parts;
  for (const TensorPart& part : assignment.parts)
    parts.push_back(read_part(files.at(static_cast<size_t>(part.file)), part, assignment.name));
  return (parts.size() == 1 ? parts[0] : at::cat(parts, 0)).view(assignment.shape);
}

std::map<std::string, at::Tensor> tensors_of(const torch::jit::Module& module) {
  std::map<std::string, at::Tensor> found;
  for (const auto& parameter : module.named_parameters()) found.emplace(parameter.name, parameter.value);
  for (const auto& buffer : module.named_buffers()) found.emplace(buffer.name, buffer.value);
  return found;
}

void set_layer_norm_eps(torch::jit::Block* block, double eps) {
  for (torch::jit::Node* node : block->nodes()) {
    for (torch::jit::Block* inner : node->blocks()) set_layer_norm_eps(inner, eps);
    if (!is_aten(node, "layer_norm")) continue;
    torch::jit::WithInsertPoint point(node);
    node->replaceInput(4, node->owningGraph()->insertConstant(eps));
  }
}

}  // namespace

void set_weights(torch::jit::Module& module, const WeightPlan& plan, at::Device device, at::ScalarType dtype) {
  at::NoGradGuard no_gradients;
  std::vector<at::Tensor> files;
  for (const auto& path : plan.files) files.push_back(mapped(path));
  const auto tensors = tensors_of(module);
  for (const Assignment& assignment : plan.assignments) {
    const auto found = tensors.find(assignment.name);
    if (found == tensors.end())
      throw EngineError("INVALID_WEIGHTS", "The graph has no tensor " + assignment.name +
                                               "; it is not the graph that these weights were planned for.");
    at::Tensor target = found->second;
    const auto value = assembled(assignment, files);
    target.set_requires_grad(false);
    // Straight to the model's own type, so that nothing is there in two types at a time.
    target.set_data(value.to(target.options().device(device).dtype(dtype)));
  }
  if (plan.layer_norm_eps) {
    for (const auto& part : module.modules()) {
      for (const auto& method : part.get_methods()) set_layer_norm_eps(method.graph()->block(), *plan.layer_norm_eps);
    }
  }
}

std::vector<at::Tensor> mapped_tensors(const std::string& file, const std::vector<const TensorPart*>& parts,
                                       const std::vector<std::string>& names) {
  if (parts.empty()) return {};
  const auto bytes = mapped(file);
  using Place = std::tuple<int64_t, std::string, std::vector<int64_t>, std::vector<int64_t>>;
  std::map<Place, at::Tensor> known;
  std::vector<at::Tensor> tensors;
  for (size_t i = 0; i < parts.size(); ++i) {
    const TensorPart& part = *parts[i];
    auto& tensor = known[{part.begin, part.dtype, part.shape, part.strides}];
    if (!tensor.defined()) tensor = read_part(bytes, part, names[i], /*only_floating=*/false);
    tensors.push_back(tensor);
  }
  return tensors;
}

}  // namespace sightline
