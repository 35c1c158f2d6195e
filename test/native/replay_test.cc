// What is captured when, and what a replay gives: with a capture that records nothing but calls the work again, on the
// memory that it was captured with.
#include "engine/device/replay.h"
#include "archives.h"
#include "engine/errors.h"
#include "plans.h"
#include "runner.h"

namespace sightline::test {

namespace {

const TargetShape kAsked{1, 0, false};

class Recalled : public CapturedGraph {
 public:
  explicit Recalled(std::function<void()> work, int* alive) : work_(std::move(work)), alive_(alive) { ++*alive_; }
  ~Recalled() override { --*alive_; }
  void replay() override { work_(); }

 private:
  std::function<void()> work_;
  int* alive_;
};

struct Device {
  int captures = 0, alive = 0, runs = 0;

  // Warms up three times and records once, as CUDA's does.
  Replays::Capture capture() {
    return [this](at::Device, const std::function<void()>& work) -> std::unique_ptr<CapturedGraph> {
      ++captures;
      for (int i = 0; i < 4; ++i) work();
      return std::make_unique<Recalled>(work, &alive);
    };
  }
  // 2 * images + targets, written into memory that is the same in every run, as a captured run's results are.
  Replays::Run run() {
    auto results = std::make_shared<std::map<std::vector<int64_t>, at::Tensor>>();
    return [this, results](const at::Tensor& images, const at::Tensor& targets, const at::Tensor& against) {
      ++runs;
      auto& result = (*results)[images.sizes().vec()];
      if (!result.defined()) result = at::empty_like(images);
      result.copy_(images * 2 + targets.to(at::kFloat).sum(1).view({-1, 1, 1, 1}));
      if (against.defined()) result.sub_(against.to(at::kFloat).sum(1).view({-1, 1, 1, 1}));
      return DeviceResult{{result}, {}, {}, 7, 0};
    };
  }
};

std::shared_ptr<Plan> plan_with(const std::string& op = "relu") {
  Recorder record;
  const auto logits = record.forward(record.image(), {kLogitsTap})[0];
  record.output("map",
                record.step(op, {logits}, {{"factor", 2.0}, {"seed", 1.0}, {"distribution", std::string("normal")}}));
  return record.plan();
}

at::Tensor images(int64_t count, double value) { return at::full({count, 3, 4, 4}, value); }
at::Tensor classes(int64_t count, int64_t value) { return at::full({count, 1}, value, at::kLong); }
at::Tensor sum_of(int64_t count, double value) { return at::full({count, 3, 4, 4}, value); }

int64_t captured_so_far() { return replay_counters().captured; }

}  // namespace

TEST("replay: the third run of a shape is captured, and later runs give what a plain run gives") {
  Device device;
  Replays replays(true, device.capture());
  const auto plan = plan_with();
  const auto run = device.run();
  const auto ask = [&](int64_t count, double image, int64_t target) {
    return replays.run(plan, kAsked, images(count, image), classes(count, target), {}, run).outputs.at(0);
  };
  const auto replayed = replay_counters().replayed.load();
  for (int i = 0; i < 2; ++i) EXPECT(ask(2, i, 5).equal(sum_of(2, 2 * i + 5)));
  EXPECT_EQUAL(device.captures, 0);
  EXPECT(ask(2, 7, 1).equal(sum_of(2, 15)));
  EXPECT_EQUAL(device.captures, 1);
  EXPECT_EQUAL(replays.captured(), size_t{1});
  const auto before = ask(2, 3, 4);
  const auto after = ask(2, -1, 9);
  EXPECT(before.equal(sum_of(2, 10)), "a later replay wrote over results that were handed out");
  EXPECT(after.equal(sum_of(2, 7)));
  EXPECT_EQUAL(replay_counters().replayed - replayed, 2);
  EXPECT_EQUAL(device.captures, 1);
  // Other numbers of images, of targets, and compared targets are other shapes.
  EXPECT(ask(3, 1, 1).equal(sum_of(3, 3)));
  const auto two =
      replays.run(plan, {2, 0, false}, images(2, 1), at::full({2, 2}, 4, at::kLong), {}, run).outputs.at(0);
  EXPECT(two.equal(sum_of(2, 10)));
  for (int i = 0; i < 4; ++i) {
    EXPECT(replays.run(plan, {1, 0, true}, images(2, 1), classes(2, 5), classes(2, i), run)
               .outputs.at(0)
               .equal(sum_of(2, 7 - i)));
  }
  EXPECT_EQUAL(device.captures, 2);
  EXPECT_EQUAL(replays.run(plan, kAsked, images(2, 3), classes(2, 4), {}, run).operators, 7);
  replays.clear();
  EXPECT_EQUAL(device.alive, 0);
  EXPECT(ask(2, 3, 4).equal(sum_of(2, 10)));
}

TEST("replay: large batches, host-side steps and loops are run plainly, and so is everything when it is off") {
  Device device;
  const auto run = device.run();
  Replays off(false, device.capture()), on(true, device.capture());
  const auto plan = plan_with(), host_side = plan_with("noise");
  Recorder record;
  const int image = record.image();
  record.begin();
  const int inner = record.parameter();
  record.block().parameters.push_back(record.value());
  const auto body = record.end({record.step("relu", {inner})});
  record.output("map", record.loop("accumulate", {image}, body, 2, {1}));
  const auto loop = record.plan();
  EXPECT(is_repeatable(*plan));
  EXPECT(!is_repeatable(*host_side));
  EXPECT(!is_repeatable(*loop));
  for (int i = 0; i < 5; ++i) {
    const auto image = images(1, i);
    for (const auto& each : {host_side, loop})
      EXPECT(on.run(each, kAsked, image, classes(1, 0), {}, run).outputs.at(0).equal(sum_of(1, 2 * i)));
    EXPECT(off.run(plan, kAsked, image, classes(1, 0), {}, run).outputs.at(0).equal(sum_of(1, 2 * i)));
    const auto many = Replays::kMostImages + 1;
    EXPECT(on.run(plan, kAsked, images(many, i), classes(many, 0), {}, run).outputs.at(0).equal(sum_of(many, 2 * i)));
  }
  EXPECT_EQUAL(device.captures, 0);
}

TEST("replay: a capture that fails is counted, told to nobody, and not tried again") {
  Device device;
  int tried = 0;
  Replays replays(true, [&](at::Device, const std::function<void()>& work) -> std::unique_ptr<CapturedGraph> {
    ++tried;
    work();
    TORCH_CHECK(false, "operation not permitted when stream is capturing");
  });
  const auto plan = plan_with();
  const auto run = device.run();
  const auto refused = replay_counters().refused.load();
  for (int i = 0; i < 6; ++i) {
    EXPECT(replays.run(plan, kAsked, images(1, i), classes(1, 1), {}, run).outputs.at(0).equal(sum_of(1, 2 * i + 1)));
    // Nor at another shape of the same plan.
    EXPECT(replays.run(plan, kAsked, images(2, i), classes(2, 1), {}, run).outputs.at(0).equal(sum_of(2, 2 * i + 1)));
  }
  EXPECT_EQUAL(tried, 1);
  EXPECT_EQUAL(replay_counters().refused - refused, 1);
  EXPECT_EQUAL(replays.captured(), size_t{0});
}

TEST("replay: where nothing can be captured, nothing is counted as refused") {
  Device device;
  int tried = 0;
  Replays replays(true, [&](at::Device, const std::function<void()>&) -> std::unique_ptr<CapturedGraph> {
    ++tried;
    return nullptr;
  });
  const auto plan = plan_with();
  const auto refused = replay_counters().refused.load();
  for (int i = 0; i < 6; ++i)
    EXPECT(replays.run(plan, kAsked, images(1, i), classes(1, 1), {}, device.run())
               .outputs.at(0)
               .equal(sum_of(1, 2 * i + 1)));
  EXPECT_EQUAL(tried, 1);
  EXPECT_EQUAL(replay_counters().refused - refused, 0);
  EXPECT(capture_graph(at::kCPU, [] {}) == nullptr, "the CPU has no graphs");
}

TEST("replay: what a run throws reaches its caller, and an abort refuses nothing") {
  Device device;
  Replays replays(true, device.capture());
  const auto plan = plan_with();
  const auto run = device.run();
  const auto ask = [&](const Replays::Run& with) {
    return replays.run(plan, kAsked, images(1, 1), classes(1, 1), {}, with);
  };
  for (int i = 0; i < 2; ++i) ask(run);
  const auto aborted = [](const at::Tensor&, const at::Tensor&, const at::Tensor&) -> DeviceResult {
    throw EngineError("ABORTED", "The request was aborted.");
  };
  const auto refused = replay_counters().refused.load();
  EXPECT_EQUAL(thrown_by([&] { ask(aborted); }).code(), std::string("ABORTED"));
  EXPECT_EQUAL(replay_counters().refused - refused, 0);
  const auto before = captured_so_far();
  ask(run);
  EXPECT_EQUAL(captured_so_far() - before, 1);
  Replays others(true, device.capture());
  const auto failing = [](const at::Tensor&, const at::Tensor&, const at::Tensor&) -> DeviceResult {
    throw EngineError("STEP_FAILED", "no luck");
  };
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQUAL(thrown_by([&] { others.run(plan, kAsked, images(1, 1), classes(1, 1), {}, failing); }).code(),
                 std::string("STEP_FAILED"));
  }
}

TEST("replay: few captured runs are kept, those used last, and none of a plan that is gone") {
  Device device;
  Replays replays(true, device.capture());
  const auto run = device.run();
  std::vector<std::shared_ptr<Plan>> plans;
  const auto ask = [&](const std::shared_ptr<Plan>& plan) {
    replays.run(plan, kAsked, images(1, 1), classes(1, 1), {}, run);
  };
  const auto capture = [&](const std::shared_ptr<Plan>& plan) {
    for (int i = 0; i < 3; ++i) ask(plan);
  };
  for (size_t i = 0; i < Replays::kMostCaptured; ++i) capture(plans.emplace_back(plan_with()));
  EXPECT_EQUAL(replays.captured(), Replays::kMostCaptured);
  ask(plans[0]);
  capture(plans.emplace_back(plan_with()));
  EXPECT_EQUAL(replays.captured(), Replays::kMostCaptured);
  EXPECT_EQUAL(device.alive, static_cast<int>(Replays::kMostCaptured));
  const auto captures = device.captures;
  ask(plans[0]);
  EXPECT_EQUAL(device.captures, captures, "the one used last was let go");
  const auto replayed = replay_counters().replayed.load();
  ask(plans[1]);
  ask(plans[1]);
  EXPECT_EQUAL(replay_counters().replayed - replayed, 0, "the one not used for longest was kept");
  ask(plans[1]);
  EXPECT_EQUAL(device.captures, captures + 1);
  plans.clear();
  ask(plan_with());
  EXPECT_EQUAL(device.alive, 0);
}

TEST("replay: once the network has let go of programs, what was captured of them is let go as well") {
  Device device;
  Replays replays(true, device.capture());
  const auto run = device.run();
  const auto plan = plan_with();
  replays.keep_only(0);
  for (int i = 0; i < 4; ++i) replays.run(plan, kAsked, images(1, 1), classes(1, 1), {}, run);
  EXPECT_EQUAL(device.alive, 1);
  replays.keep_only(0);
  EXPECT_EQUAL(device.alive, 1);
  replays.keep_only(1);
  EXPECT_EQUAL(device.alive, 0);
  for (int i = 0; i < 4; ++i)
    EXPECT(replays.run(plan, kAsked, images(1, 1), classes(1, 1), {}, run).outputs.at(0).equal(sum_of(1, 3)));
  EXPECT_EQUAL(device.captures, 2);
}

TEST("replay: a captured run keeps what it was captured with, and lets it go with it") {
  Device device;
  Replays replays(true, device.capture());
  const auto plan = plan_with();
  auto owned = std::make_shared<at::Tensor>(at::full({1}, 10.0));
  const std::weak_ptr<at::Tensor> watched = owned;
  {
    const Replays::Run run = [owned](const at::Tensor& images, const at::Tensor&, const at::Tensor&) {
      return DeviceResult{{images + *owned}, {}, {}, 0, 0};
    };
    for (int i = 0; i < 3; ++i) replays.run(plan, kAsked, images(1, 1), classes(1, 1), {}, run);
  }
  owned.reset();
  EXPECT(!watched.expired());
  EXPECT(replays.run(plan, kAsked, images(1, 2), classes(1, 1), {}, nullptr).outputs.at(0).equal(sum_of(1, 12)));
  replays.clear();
  EXPECT(watched.expired());
}

TEST("replay: a plan of the model is captured and replayed to the bit, gradients included") {
  const auto& small = archive("timm-vit-fused-traced");
  const auto model = small.load();
  auto& network = model->network(small.height, small.width);
  Recorder record;
  const auto taps = record.forward(record.image(), {kLogitsTap, {{Tap::Kind::Attention, {}, 0}, true}});
  const auto gradient = record.gradient(record.step("score", {taps[0]}), {taps[1]})[0];
  record.output("map", record.step("mul", {taps[1], gradient}));
  const auto plan = record.plan(taps[0]);
  EXPECT(is_repeatable(*plan));
  const auto never = std::function<bool()>([] { return false; });
  const Replays::Run run = [&](const at::Tensor& images, const at::Tensor& targets, const at::Tensor&) {
    const auto result =
        run_plan(*plan, network, model->self(), images, {targets, at::full_like(targets, kNoClass), {}}, never);
    return DeviceResult{{result.outputs.at(0).values}, {}, {}, 0, 0};
  };
  Device device;
  Replays replays(true, device.capture());
  for (int64_t i = 0; i < 6; ++i) {
    const auto batch = small.images(2, static_cast<uint64_t>(i) + 1);
    const auto targets = targets_of({{i % 3}, {(i + 1) % 3}});
    const auto found = replays.run(plan, kAsked, batch, targets, {}, run).outputs.at(0);
    EXPECT(found.equal(run(batch, targets, {}).outputs.at(0)), "run ", i);
  }
  EXPECT_EQUAL(device.captures, 1);
}

}  // namespace sightline::test
