// Weights made ready for a program: folded, laid out channels last, packed for oneDNN. One copy serves all programs.
#pragma once

#include "engine/pch.h"

namespace sightline {

class PreparedWeights {
 public:
  // The tensor prepared `how` from `sources`, which belong to the model and live as long as this does.
  at::Tensor get(const std::string& how, const std::vector<at::Tensor>& sources, const std::function<at::Tensor()>& prepare);
  int64_t bytes() const { return bytes_; }

 private:
  std::map<std::pair<std::string, std::vector<const void*>>, at::Tensor> kept_;
  int64_t bytes_ = 0;
};

}  // namespace sightline
