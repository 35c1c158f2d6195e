// Features as a sum of few non-negative concepts.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace sightline {

struct NonNegativeFactors {
  at::Tensor vectors;  // [batch, components, channels]: what each concept looks like
  at::Tensor maps;     // [batch, components, height, width]: where it is
};

// `x`: [batch, channels, height, width], every value >= 0. Factors each image's [channels, height * width] matrix by
// cyclic coordinate descent on the squared error (Cichocki & Phan, 2009), at most 200 rounds, until the projected
// gradient has fallen by 1e-4, from the random start that scikit-learn takes with random_state=0 (deep feature
// factorization: Collins et al., ECCV 2018). Zeros give zeros. Computed on the CPU in double. `cancelled` is asked
// between rounds; when it says yes, EngineError ABORTED is thrown.
NonNegativeFactors non_negative_factors(const at::Tensor& x, int64_t components,
                                        const std::function<bool()>& cancelled = {});

}  // namespace sightline
