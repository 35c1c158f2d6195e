// Moving and cutting each image of a batch by its own offset.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace sightline {

// `rows`, `columns`: [batch], whole numbers of any dtype (others are rounded down), positive towards the bottom and the
// right. x: [batch, ..., height, width]. Both are differentiable in x and never wait for the device.

// What leaves at one side enters at the other.
at::Tensor roll_each(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& columns);

// [batch, ..., height, width] with the given height and width: what lies from each image's own offset on. Offsets that
// would leave the image are moved to its border; a cut larger than the image throws EngineError INTERNAL.
at::Tensor crop_each(const at::Tensor& x, const at::Tensor& rows, const at::Tensor& columns, int64_t height,
                     int64_t width);

}  // namespace sightline
