// Weights made ready for a program: folded, laid out channels last, packed for oneDNN. One copy serves all programs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace sightline {

class PreparedWeights {
 public:
  // The tensor prepared `how` from `sources`. Sources are kept as long as what was made from them: some are computed for
  // one program, and a later tensor at the address of one that was freed must not get its weights.
  at::Tensor get(const std::string& how, const std::vector<at::Tensor>& sources,
                 const std::function<at::Tensor()>& prepare);
  int64_t bytes() const { return bytes_; }
  // Lets go of what no program holds any more: packed weights differ from image size to image size.
  void drop_unused();

 private:
  struct Entry {
    std::vector<at::Tensor> sources;
    at::Tensor prepared;
    int64_t bytes;
  };
  std::map<std::pair<std::string, std::vector<const void*>>, Entry> kept_;
  int64_t bytes_ = 0;
};

}  // namespace sightline
