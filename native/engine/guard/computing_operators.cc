#include "engine/guard/computing_operators.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

#include "engine/guard/allowed_operators.h"

namespace sightline {

namespace {

const std::unordered_set<std::string_view> kOther = {
    // files
    "save", "load", "open", "from_file",
    // other threads and processes, and the state of this one
    "wait", "fork", "manual_seed", "seed", "initial_seed", "set_grad_enabled", "get_autocast_dtype", "to_here", "owner",
    "owner_name", "is_owner", "confirmed_by_owner", "local_value", "get_gradients", "is_vulkan_available",
    "cudnn_is_acceptable",
    // autograd's own state
    "backward", "grad", "set_data", "retain_grad", "retains_grad", "is_leaf", "output_nr",
    // memory
    "set", "set_", "pin_memory", "is_pinned", "record_stream", "empty_strided", "new_empty_strided", "empty_permuted",
    "empty_quantized", "lift", "slice_inverse", "convolution_overrideable",
    // as many elements as the largest value that they are given, or as all combinations of theirs
    "bincount", "combinations", "cartesian_prod", "nonzero_static", "histogramdd"};

// Kernels of one kind of device or library, which leave their checks to whoever calls them, and changes of shape in place.
constexpr std::string_view kOtherPrefixes[] = {
    "_",         "cudnn_",    "miopen_",     "mkldnn_",    "mps_",   "fbgemm_",          "lstm_mps",  "sparse_",
    "to_sparse", "to_mkldnn", "copy_sparse", "as_strided", "resize", "conv_depthwise3d", "slow_conv", "thnn_"};

// What Python's own functions call by these names: nested tensors of nn.TransformerEncoder, and the branches of `interpolate`.
const std::unordered_set<std::string_view> kCalledByPython = {"_nested_tensor_from_mask",
                                                              "_nested_tensor_from_mask_left_aligned",
                                                              "_is_all_true",
                                                              "_is_any_true",
                                                              "_upsample_nearest_exact1d",
                                                              "_upsample_nearest_exact2d",
                                                              "_upsample_nearest_exact3d",
                                                              "_upsample_lanczos2d_aa"};

bool is_plain(const c10::TypePtr& type) {
  switch (type->kind()) {
    case c10::TypeKind::TensorType:
    case c10::TypeKind::IntType:
    case c10::TypeKind::FloatType:
    case c10::TypeKind::BoolType:
    case c10::TypeKind::NumberType:
    case c10::TypeKind::ComplexType:
    case c10::TypeKind::StringType:
    case c10::TypeKind::NoneType:
    case c10::TypeKind::DeviceObjType:
    case c10::TypeKind::ScalarTypeType:
    case c10::TypeKind::LayoutType:
    case c10::TypeKind::MemoryFormatType:
    case c10::TypeKind::VarType:
      return true;
    case c10::TypeKind::OptionalType:
    case c10::TypeKind::ListType:
    case c10::TypeKind::DictType:
    case c10::TypeKind::TupleType: {
      const auto inner = type->containedTypes();
      return std::all_of(inner.begin(), inner.end(), is_plain);
    }
    default:
      return false;
  }
}

bool is_generator(const c10::TypePtr& type) {
  const auto optional = type->cast<c10::OptionalType>();
  return type->kind() == c10::TypeKind::GeneratorType ||
         (optional && optional->getElementType()->kind() == c10::TypeKind::GeneratorType);
}

}  // namespace

bool only_computes(const torch::jit::Node* node) {
  const auto allowed = allowed_operators();
  if (std::binary_search(allowed.begin(), allowed.end(), std::string_view(node->kind().toQualString()))) return true;
  // What is to be printed is taken out before anything runs.
  if (node->kind() == c10::prim::Print) return true;
  const auto* schema = node->maybeSchema();
  if (!node->kind().is_aten() || schema == nullptr || schema->is_vararg()) return false;
  const std::string_view name = node->kind().toUnqualString();
  if (kCalledByPython.count(name) != 0) return true;
  if (kOther.count(name) != 0 || name.find("_backward") != std::string_view::npos ||
      schema->overload_name().find("out") != std::string::npos)
    return false;
  if (std::any_of(std::begin(kOtherPrefixes), std::end(kOtherPrefixes),
                  [&](std::string_view prefix) { return name.starts_with(prefix); }))
    return false;
  for (size_t i = 0; i < schema->arguments().size(); ++i) {
    const auto& type = schema->arguments()[i].type();
    // An operator on random numbers may have a generator that is none.
    const bool is_none = i < node->inputs().size() && node->input(i)->type()->kind() == c10::TypeKind::NoneType;
    if (!is_plain(type) && !(is_generator(type) && is_none)) return false;
  }
  return std::all_of(schema->returns().begin(), schema->returns().end(),
                     [](const auto& each) { return is_plain(each.type()); });
}

}  // namespace sightline
