// Pixels that were taken away, filled in from those around them.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace sightline {

// `images` [batch, channels, height, width] where `removed` [batch, height, width] is 0; where it is 1, each pixel is the
// mean of its neighbors, 1/6 for those beside it and 1/12 for those at its corners, less those that lie outside of the
// image (Rong et al., 2022: the linear imputation of ROAD). That is a linear system of as many unknowns as pixels were
// removed; it is solved by conjugate gradients, preconditioned by a multigrid cycle, to a residual of 1e-6 of the right
// side. At least one pixel of each image stays. `cancelled` is asked between rounds; when it says yes, EngineError
// ABORTED is thrown.
at::Tensor linear_imputation(const at::Tensor& images, const at::Tensor& removed,
                             const std::function<bool()>& cancelled = {});

}  // namespace sightline
