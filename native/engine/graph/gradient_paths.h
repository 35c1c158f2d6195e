// How far back the gradient of the scores goes, as the one recorded run showed.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <string>
#include <unordered_set>
#include <vector>

#include "engine/graph/straighten.h"

namespace sightline {

class GradientPaths {
 public:
  explicit GradientPaths(const StraightGraph& straight);

  // Why no gradient of the scores comes to a value, as a sentence without its end; empty where one does, and where the scores
  // are not made from the value at all.
  std::string obstacle(const torch::jit::Value* value) const;

 private:
  const StraightGraph& straight_;
  std::unordered_set<const torch::jit::Value*> reached_;
  // Operators on the way back that let no gradient through, and those at which a backward pass fails; the model's last first.
  std::vector<const torch::jit::Node*> stops_, failing_;
};

}  // namespace sightline
