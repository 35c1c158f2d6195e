#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace sightline {

// The mean along one axis of what is positive in a product: of attention and its gradient over the heads.
at::Tensor mean_positive_product(const at::Tensor& a, const at::Tensor& b, int64_t axis);

}  // namespace sightline
