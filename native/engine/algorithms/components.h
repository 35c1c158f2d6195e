// The first component of each image's features, for Eigen-CAM and its like.
#pragma once

#include <ATen/core/Tensor.h>

namespace sightline {

// The rows of an image are its positions, a channel is a column; each column's mean over the positions is taken away
// first. Of the two signs that a component may have, the one in which the largest absolute score is positive is given.
// Computed in double: neighbouring singular values of a late layer lie close together. An image whose channels are all
// constant scores zero everywhere. Values that are not finite throw.

// [batch, channels, height, width] to [batch, height, width], in x's dtype: each position's projection on the first
// right singular vector (Muhammad & Yeasin, Eigen-CAM, IJCNN 2020).
at::Tensor principal_component(const at::Tensor& x);

// The same with the scores of the first kernel component under the kernel tanh(<a, b> / channels + 1), centred in
// feature space (Karmani et al., KPCA-CAM, 2024). Takes 8 * (height * width)^2 bytes for an image.
at::Tensor kernel_component(const at::Tensor& x);

}  // namespace sightline
