#include "engine/graph/place_operators.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>
#include <cstring>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Node;

bool is_one_of(const Node* node, std::initializer_list<const char*> names) {
  static const auto quantized = c10::Symbol::fromQualString("namespaces::quantized");
  if (!node->kind().is_aten() && node->kind().ns() != quantized) return false;
  const char* kind = node->kind().toUnqualString();
  return std::any_of(names.begin(), names.end(), [kind](const char* name) { return std::strcmp(kind, name) == 0; });
}

bool moves_elements(const Node* node) {
  return is_one_of(node, {"view",
                          "reshape",
                          "_unsafe_view",
                          "view_as",
                          "reshape_as",
                          "permute",
                          "transpose",
                          "t",
                          "mT",
                          "numpy_T",
                          "flatten",
                          "unflatten",
                          "squeeze",
                          "unsqueeze",
                          "slice",
                          "select",
                          "narrow",
                          "split",
                          "split_with_sizes",
                          "tensor_split",
                          "chunk",
                          "unbind",
                          "cat",
                          "concat",
                          "stack",
                          "roll",
                          "flip",
                          "expand",
                          "expand_as",
                          "repeat",
                          "tile",
                          "repeat_interleave",
                          "index",
                          "index_select",
                          "gather",
                          "take_along_dim",
                          "contiguous",
                          "clone",
                          "movedim",
                          "swapaxes",
                          "swapdims",
                          "pixel_shuffle",
                          "pixel_unshuffle",
                          "channel_shuffle",
                          "native_channel_shuffle",
                          "im2col",
                          "unfold",
                          "rot90"});
}

bool keeps_shape(const Node* node) {
  if (is_one_of(node, {"to",
                       "type_as",
                       "float",
                       "half",
                       "bfloat16",
                       "detach",
                       "alias",
                       "dropout",
                       "feature_dropout",
                       "alpha_dropout",
                       "softmax",
                       "_softmax",
                       "_safe_softmax",
                       "log_softmax",
                       "layer_norm",
                       "batch_norm",
                       "group_norm",
                       "instance_norm",
                       "rms_norm",
                       "normalize",
                       "cumsum",
                       "gelu",
                       "prelu",
                       "quantize_per_tensor",
                       "quantize_per_tensor_dynamic",
                       "quantize_per_channel",
                       "dequantize",
                       "add_relu",
                       "add_scalar",
                       "mul_scalar",
                       "celu",
                       "elu",
                       "hardswish",
                       "leaky_relu",
                       "sigmoid",
                       "relu6",
                       "add",
                       "mul",
                       "batch_norm2d",
                       "clamp_min",
                       "masked_fill",
                       "where"})) {
    return true;
  }
  const auto* schema = node->maybeSchema();
  if (schema == nullptr || !node->kind().is_aten()) return false;
  const auto handle = c10::Dispatcher::singleton().findOp(schema->operator_name());
  return handle && handle->hasTag(at::Tag::pointwise);
}

bool tells_sizes(const Node* node) {
  return node->kind() == c10::prim::dtype || node->kind() == c10::prim::device ||
         is_one_of(node, {"size", "len", "dim", "numel", "is_floating_point", "new_zeros", "new_ones", "new_full",
                          "new_empty", "zeros_like", "ones_like", "full_like", "empty_like"});
}

bool is_window(const Node* node) {
  return is_one_of(node, {"_convolution",
                          "conv1d",
                          "conv2d",
                          "convolution",
                          "conv_transpose2d",
                          "max_pool2d",
                          "max_pool2d_with_indices",
                          "avg_pool2d",
                          "avg_pool3d",
                          "max_pool1d",
                          "avg_pool1d",
                          "adaptive_avg_pool2d",
                          "adaptive_max_pool2d",
                          "adaptive_avg_pool1d",
                          "adaptive_max_pool1d",
                          "conv2d_relu",
                          "conv2d_add_relu",
                          "upsample_nearest2d",
                          "upsample_bilinear2d",
                          "upsample_bicubic2d",
                          "_upsample_bilinear2d_aa",
                          "_upsample_bicubic2d_aa",
                          "_upsample_nearest_exact2d"});
}

bool is_reduction(const Node* node) {
  return is_one_of(node, {"mean",        "sum",
                          "amax",        "amin",
                          "max",         "min",
                          "norm",        "linalg_vector_norm",
                          "linalg_norm", "std",
                          "var",         "logsumexp",
                          "prod",        "argmax",
                          "argmin",      "median",
                          "nanmean",     "frobenius_norm",
                          "var_mean",    "std_mean",
                          "aminmax"});
}

}  // namespace sightline
