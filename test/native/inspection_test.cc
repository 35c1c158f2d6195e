#include "engine/programs/network.h"
#include "runner.h"

namespace sightline::test {

namespace {

// A classifier whose feature of 6 x 6 places is pooled by avg_pool2d with this divisor.
NetworkInfo info_with_divisor(const std::string& divisor) {
  torch::jit::Module module("Pooled");
  module.register_parameter("weight", at::ones({5, 3}), false);
  module.define(
      "def forward(self, x):\n  y = torch.relu(x)\n  p = torch.avg_pool2d(y, [6, 6], [6, 6], [0, 0], False, True, " +
      divisor + ")\n  return torch.linear(torch.flatten(p, 1), self.weight)\n");
  module.eval();
  return Network(module, at::zeros({1, 3, 6, 6}), nullptr).info();
}

}  // namespace

TEST("inspection: a pool that divides by another number is no mean, so nothing is taken for its closed form") {
  EXPECT(info_with_divisor("None").head.has_value());
  EXPECT(!info_with_divisor("7").head.has_value());
}

}  // namespace sightline::test
