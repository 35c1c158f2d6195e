// A score as a sum of what each segment of the image brings.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "engine/algorithms/coalitions.h"

namespace sightline {

// `Shapley`: the least squares of Kernel SHAP, in which no segment brings the score of nothing and all of them together
// that of the whole image. Ridge and Lasso have a constant term of their own, which is not held down.
enum class Regression { Shapley, Ridge, Lasso };

struct AdditiveSettings {
  Regression regression = Regression::Ridge;
  // Ridge: of the squared values beside the weighted squares; Lasso: of their sizes beside half the mean.
  double alpha = 0;
  CoalitionSettings coalitions;
};

// What was seen of one image.
struct Observed {
  at::Tensor scores;   // [samples], of the coalitions in turn
  at::Tensor weights;  // [samples], at least 0; where 0, the sample does not count
  double whole = 0;    // Shapley: the scores of the whole image and of nothing
  double nothing = 0;
};

struct AdditiveModel {
  at::Tensor values;  // [count] in double
  double fit = 1;     // the share of the scores' weighted variance that the values tell; 1 where they do not vary
};

// The model of `count` segments, at least 1, that fits best; of equally good ones that with the smallest values, or for
// Shapley with the least apart. NaN where a score or weight is not finite. Throws EngineError INVALID_OPTION where all
// weights are 0, and ABORTED when `cancelled` says yes.
AdditiveModel fit_additive_model(int64_t count, const Observed& observed, const AdditiveSettings& settings,
                                 const std::function<bool()>& cancelled = {});

}  // namespace sightline
