// One random image, run by itself: experiments begin from its values, and need no run of their own for them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <map>

namespace sightline {

struct LoneRun {
  at::Tensor image;                     // [1, channels, height, width], in the model's type
  std::map<size_t, at::Tensor> values;  // by their output of `Tappable::master`: the scores, and what was asked for
};

}  // namespace sightline
