// Programs of a network: which are kept.
#include "archives.h"
#include "engine/programs/network.h"
#include "rounding.h"
#include "runner.h"

namespace sightline::test {

namespace {

// One program for each set of nodes: of `count` sets, the `number`-th.
ProgramRequest numbered(const NetworkInfo& info, int64_t number) {
  ProgramRequest request{{{{Tap::Kind::Logits, {}, -1}, false}}, {}, {}};
  for (size_t bit = 0; (number >> bit) != 0; ++bit) {
    if ((number >> bit) & 1) request.taps.push_back({{Tap::Kind::Node, info.nodes.at(bit).name, -1}, false});
  }
  return request;
}

}  // namespace

TEST("programs: the one in use outlives a hundred others, and only what was used longest ago goes") {
  const auto& each = archive("timm-resnet-traced");
  const auto model = each.load();
  auto& network = model->network(each.height, each.width);
  const Program* const hot = &network.program(numbered(network.info(), 1));
  const auto before = network.generation();
  for (int64_t number = 2; number <= 100; ++number) {
    network.program(numbered(network.info(), number));
    EXPECT(&network.program(numbered(network.info(), 1)) == hot, "the program was made again after ", number);
  }
  // A hundred and those of the inspection; 64 are kept, one goes at a time.
  const auto gone = network.generation() - before;
  EXPECT(gone >= 36 && gone <= 40, gone);
  const auto images = each.images(1);
  const auto logits = [&](const at::Tensor& input) { return hot->run(model->self(), input)[0]; };
  expect_rounded(logits(images), forward(each, images), hot->operators(), images, logits, each.name);
}

}  // namespace sightline::test
