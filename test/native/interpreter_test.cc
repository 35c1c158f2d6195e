// The interpreter: registers end at their last use, chunks do not change results, failures say where.
#include <ATen/Parallel.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>

#include "archives.h"
#include "engine/errors.h"
#include "plans.h"
#include "rounding.h"
#include "runner.h"

namespace sightline::test {

namespace {

const auto kNever = [] { return false; };

// Bytes of the tensors that this thread has made since, and not yet freed.
class LiveBytes : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, int64_t size, size_t, size_t, c10::Device) override {
    now_ += size;
    peak_ = std::max(peak_, now_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t now() const { return now_; }
  int64_t peak() const { return peak_; }

 private:
  int64_t now_ = 0, peak_ = 0;
};

struct Measured {
  BatchResult result;
  int64_t left, peak;  // bytes
};

struct Bench {
  explicit Bench(const std::string& name = "timm-resnet-traced", int64_t height = 64, int64_t width = 64)
      : model(archive(name).load()), network(&model->network(height, width)), height(height), width(width) {}

  at::Tensor images(int64_t batch) const {
    at::manual_seed(11);
    return at::randn({batch, 3, height, width});
  }
  BatchResult run(const Plan& plan, const at::Tensor& on, const at::Tensor& targets,
                  const std::function<bool()>& cancelled = kNever) {
    const Asked asked{targets, at::full_like(targets, kNoClass), {}};
    return run_plan(plan, *network, model->self(), on, asked, cancelled);
  }
  Measured measured(const Plan& plan, const at::Tensor& on, const at::Tensor& targets) {
    run(plan, on, targets);  // Programs are built in the first run.
    auto live = std::make_shared<LiveBytes>();
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, live);
    auto result = run(plan, on, targets);
    return {std::move(result), live->now(), live->peak()};
  }

  std::unique_ptr<Model> model;
  Network* network;
  int64_t height, width;
};

at::Tensor no_targets(int64_t batch) { return at::empty({batch, 0}, at::kLong); }

at::Tensor output(const BatchResult& result, const std::string& name) {
  for (const auto& each : result.outputs) {
    if (each.name == name) return each.values;
  }
  fail_at(__FILE__, __LINE__, "there is no output ", name);
}

}  // namespace

TEST("interpreter: a register is freed by the step that reads it last") {
  Bench bench;
  const auto images = bench.images(8);
  const auto bytes = static_cast<int64_t>(images.nbytes());
  Recorder record;
  int value = record.image();
  for (int i = 0; i < 40; ++i) value = record.step("scale", {value}, {{"factor", 1.01}});
  record.output("map", value);
  const auto [result, left, peak] = bench.measured(*record.plan(), images, no_targets(8));
  EXPECT(peak <= 3 * bytes, "40 steps on ", bytes, " bytes take ", peak);
  EXPECT(left <= 2 * bytes, left, " bytes are left");
  // 40 products by a factor that is itself rounded, and one product of the power.
  EXPECT(relative_difference(output(result, "map"), images * std::pow(1.01, 40)) <= 82 * kRoundoff);
}

TEST("interpreter: what is read later is kept until then") {
  Bench bench;
  const auto images = bench.images(2);
  Recorder record;
  const int first = record.image();
  const int doubled = record.step("scale", {first}, {{"factor", 2.0}});
  int value = doubled;
  for (int i = 0; i < 5; ++i) value = record.step("shift", {value}, {{"by", 1.0}});
  record.output("sum", record.step("add", {value, doubled}));
  record.output("early", doubled);
  const auto result = bench.run(*record.plan(), images, no_targets(2));
  // Six sums here and one there, of no larger values; doubling is exact.
  EXPECT(relative_difference(output(result, "sum"), images * 4 + 5) <= 7 * kRoundoff);
  EXPECT(at::equal(output(result, "early"), images * 2));
}

TEST("interpreter: a gradient's autograd graph goes with the last gradient of its run") {
  Bench bench;
  const auto images = bench.images(8);
  const auto plan_of = [&](int later_steps) {
    Recorder record;
    const auto tapped = record.forward(record.image(), {kLogitsTap, {{Tap::Kind::Node, "layer1", -1}, true}});
    const auto slope = record.gradient(record.step("score", {tapped[0]}), {tapped[1]})[0];
    int value = slope;
    for (int i = 0; i < later_steps; ++i) value = record.step("scale", {value}, {{"factor", 0.5}});
    record.output("map", record.step("mean", {value}, {{"axes", std::vector<double>{1, 2, 3}}}));
    return record.plan(tapped[0]);
  };
  const auto targets = targets_of({{1}, {2}, {3}, {4}, {5}, {6}, {0}, {1}});
  const auto [result, left, peak] = bench.measured(*plan_of(3), images, targets);
  EXPECT(left < 64 * 1024, left, " bytes are left after the run");
  // Four times the targets take no more at once: each target's intermediates go before the next one's come.
  Recorder record;
  const auto tapped = record.forward(record.image(), {kLogitsTap, {{Tap::Kind::Node, "layer1", -1}, true}});
  const auto slope = record.gradient(record.step("score", {tapped[0]}), {tapped[1]})[0];
  record.output("map", record.step("mean", {slope}, {{"axes", std::vector<double>{1, 2, 3}}}));
  const auto plan = record.plan(tapped[0]);
  const auto one = bench.measured(*plan, images, at::zeros({8, 1}, at::kLong));
  const auto four = bench.measured(*plan, images, at::arange(4).unsqueeze(0).expand({8, 4}).contiguous());
  EXPECT(four.peak <= one.peak + one.peak / 4, "one target takes ", one.peak, " bytes, four take ", four.peak);
  EXPECT(four.left < 64 * 1024, four.left, " bytes are left");
}

TEST("interpreter: gradients through steps equal autograd's") {
  Bench bench;
  const auto images = bench.images(3);
  Recorder record;
  const auto tapped = record.forward(record.image(), {kLogitsTap, {{Tap::Kind::Node, "layer1", -1}, true}});
  // The scalar is not a plain logit: log-softmax by hand, so that several steps are recorded on the way.
  const int probabilities = record.step("softmax", {tapped[0]}, {{"axis", 1.0}});
  const int score = record.step("score", {record.step("log", {probabilities})});
  record.output("slope", record.gradient(score, {tapped[1]})[0]);
  const auto targets = targets_of({{1, 4}, {2, 0}, {6, 6}});
  const auto result = bench.run(*record.plan(tapped[0]), images, targets);
  const auto& program = bench.network->program({kLogitsTap, {{Tap::Kind::Node, "layer1", -1}, true}});
  for (int64_t t = 0; t < 2; ++t) {
    const auto slope = [&](const at::Tensor& input) {
      const auto outputs = program.run(bench.model->self(), input);
      const auto chosen = outputs[0].log_softmax(1).gather(1, targets.select(1, t).unsqueeze(1)).sum();
      return torch::autograd::grad({chosen}, {outputs[1]})[0];
    };
    // The plan's three steps are operators as well.
    expect_rounded(output(result, "slope").select(1, t), slope(images), program.operators() + 3, images, slope,
                   "target " + std::to_string(t));
  }
}

TEST("interpreter: ranks become each image's own classes") {
  Bench bench;
  const auto images = bench.images(5);
  Recorder record;
  const auto tapped = record.forward(record.image(), {kLogitsTap});
  record.output("score", record.step("score", {tapped[0]}));
  record.output("logits", tapped[0]);
  const auto asked = at::tensor({-1, 3, -2}, at::kLong).unsqueeze(0).expand({5, 3}).contiguous();
  const auto result = bench.run(*record.plan(tapped[0]), images, asked);
  const auto logits = output(result, "logits");
  const auto ranked = std::get<1>(logits.topk(2, 1));
  EXPECT(result.targets.select(1, 0).equal(ranked.select(1, 0)));
  EXPECT(result.targets.select(1, 1).equal(at::full({5}, 3, at::kLong)));
  EXPECT(result.targets.select(1, 2).equal(ranked.select(1, 1)));
  EXPECT(output(result, "score").equal(logits.gather(1, result.targets)));
}

TEST("interpreter: a plan that explains a class wants one") {
  Bench bench;
  Recorder record;
  const auto tapped = record.forward(record.image(), {kLogitsTap});
  record.output("score", record.step("score", {tapped[0]}));
  const auto plan = record.plan(tapped[0]);
  const auto error = thrown_by([&] { bench.run(*plan, bench.images(1), no_targets(1)); });
  EXPECT_EQUAL(error.code(), std::string("INVALID_OPTION"));
}

TEST("interpreter: a failing step names the method, the step and its place") {
  Bench bench;
  Recorder record("grad-cam");
  const int image = record.image();
  const int narrow = record.step("narrow", {image}, {{"axis", 1.0}, {"start", 0.0}, {"length", 2.0}});
  record.output("map", record.step("mul", {image, narrow}));
  const auto error = thrown_by([&] { bench.run(*record.plan(), bench.images(1), no_targets(1)); });
  EXPECT_EQUAL(error.code(), std::string("STEP_FAILED"));
  EXPECT(error.message().rfind("grad-cam failed in 'mul' (method.ts:3:1): ", 0) == 0, error.message());
  EXPECT(error.message().find("must match") != std::string::npos, error.message());
  EXPECT(error.message().find("Exception raised from") == std::string::npos, error.message());
  EXPECT(error.message().find('\n') == std::string::npos, error.message());
}

TEST("interpreter: a step inside a loop names its own place") {
  Bench bench;
  Recorder record("smooth");
  const int image = record.image();
  record.begin();
  const int inner = record.parameter();
  record.block().parameters.push_back(record.value());
  const int wrong = record.step("select", {inner}, {{"axis", 1.0}, {"index", 99.0}});
  const auto body = record.end({wrong});
  record.output("map", record.loop("accumulate", {image}, body, 2, {1}));
  const auto error = thrown_by([&] { bench.run(*record.plan(), bench.images(1), no_targets(1)); });
  EXPECT(error.message().rfind("smooth failed in 'select' (method.ts:1:1): ", 0) == 0, error.message());
}

TEST("interpreter: errors that are the user's keep their codes") {
  Bench bench;
  Recorder record;
  record.output("map", record.forward(record.image(), {{{Tap::Kind::Node, "layer9", -1}, false}})[0]);
  EXPECT_EQUAL(thrown_by([&] { bench.run(*record.plan(), bench.images(1), no_targets(1)); }).code(),
               std::string("UNKNOWN_NODE"));
  Recorder attention;
  attention.output("map", attention.forward(attention.image(), {{{Tap::Kind::Attention, {}, 0}, false}})[0]);
  EXPECT_EQUAL(thrown_by([&] { bench.run(*attention.plan(), bench.images(1), no_targets(1)); }).code(),
               std::string("UNKNOWN_NODE"));
}

TEST("interpreter: a plan that makes no sense is refused before it runs") {
  Recorder unknown;
  unknown.output("map", unknown.step("no_such_step", {unknown.image()}));
  EXPECT_EQUAL(thrown_by([&] { unknown.plan(); }).code(), std::string("INTERNAL"));
  Recorder beyond;
  beyond.image();
  beyond.add("relu", {57});
  EXPECT_EQUAL(thrown_by([&] { beyond.plan(); }).code(), std::string("INTERNAL"));
  Recorder nowhere;
  nowhere.output("map", nowhere.image() + 5);
  EXPECT_EQUAL(thrown_by([&] { nowhere.plan(); }).code(), std::string("INTERNAL"));
  Bench bench;
  Recorder unset;
  unset.output("map", unset.step("scale", {unset.image()}));
  const auto error = thrown_by([&] { bench.run(*unset.plan(), bench.images(1), no_targets(1)); });
  EXPECT_EQUAL(error.code(), std::string("STEP_FAILED"));
  EXPECT(error.message().find("'factor'") != std::string::npos, error.message());
}

TEST("interpreter: cancellation is looked at before every step, in loops as well") {
  Bench bench;
  Recorder record;
  const int image = record.image();
  record.begin();
  const int inner = record.parameter();
  record.block().parameters.push_back(record.value());
  int value = inner;
  for (int i = 0; i < 3; ++i) value = record.step("scale", {value}, {{"factor", 0.5}});
  const auto body = record.end({value});
  record.output("map", record.loop("accumulate", {image}, body, 10, {1}));
  const auto plan = record.plan(-1, /*memory=*/1);
  int asked = 0;
  bench.run(*plan, bench.images(1), no_targets(1), [&] { return ++asked, false; });
  // image, the loop, and three steps in each of ten chunks.
  EXPECT_EQUAL(asked, 2 + 3 * 10);
  for (const int limit : {1, 2, 5, 20}) {
    int left = limit;
    const auto error =
        thrown_by([&] { bench.run(*plan, bench.images(1), no_targets(1), [&] { return left-- == 0; }); });
    EXPECT_EQUAL(error.code(), std::string("ABORTED"));
    // Nothing is asked again, hence nothing was run, once it was cancelled.
    EXPECT_EQUAL(left, -1, "cancelled at ", limit);
  }
}

// One step of a run, or of a run and its backward pass, can take seconds: it must end within them, whatever comes after it.
TEST("interpreter: cancellation is looked at before every operator of one step") {
  for (const bool is_backward : {false, true}) {
    Bench bench;
    Recorder record;
    const auto tapped = record.forward(record.image(), {kLogitsTap, {{Tap::Kind::Image, {}, -1}, is_backward}});
    const auto last = is_backward ? record.gradient(record.step("score", {tapped[0]}), {tapped[1]})[0] : tapped[0];
    record.output("last", last);
    const auto plan = record.plan();
    const auto targets = is_backward ? targets_of({{1}}) : no_targets(1);
    const auto images = bench.images(1);
    int asked = 0;
    bench.run(*plan, images, targets, [&] { return ++asked, false; });
    const auto operators = bench.network->program({kLogitsTap, {{Tap::Kind::Image, {}, -1}, is_backward}}).operators();
    // There, and there and back: a residual network's backward pass has at least as many nodes as it has operators.
    EXPECT(asked > operators * (is_backward ? 2 : 1), asked, " looks at ", operators, " operators");
    for (int limit = 0; limit < asked; limit += 7) {
      int left = limit;
      const auto error = thrown_by([&] { bench.run(*plan, images, targets, [&] { return left-- == 0; }); });
      EXPECT_EQUAL(error.code(), std::string("ABORTED"));
      EXPECT_EQUAL(left, -1, "cancelled at look ", limit, " of ", asked);
    }
  }
}

namespace {

// Noise on the image, a run of the model, its gradient and the score: what SmoothGrad and Score-CAM do.
std::shared_ptr<Plan> sampled(int64_t memory, bool concatenates, int count) {
  Recorder record;
  const int image = record.image();
  record.begin();
  const int inner = record.parameter();
  const int sample = record.parameter();
  const int noise = record.step("noise", {inner, sample}, {{"seed", 5.0}, {"distribution", std::string("normal")}});
  const int noisy = record.step("add", {inner, noise});
  const auto tapped = record.forward(noisy, {kLogitsTap, {{Tap::Kind::Image, {}, -1}, true}});
  const auto slope = record.gradient(record.step("score", {tapped[0]}), {tapped[1]})[0];
  const auto body = record.end({slope});
  record.output("map", record.loop(concatenates ? "concatenate" : "accumulate", {image}, body, count, {1}));
  return record.plan(-1, memory);
}

// Of one sample: the network's, and noise, its sum, the score and the sum over the samples.
int64_t sampled_operators(const Bench& bench) {
  return bench.network->program({kLogitsTap, {{Tap::Kind::Image, {}, -1}, true}}).operators() + 4;
}

}  // namespace

TEST("loops: accumulate and concatenate give the same whatever the chunks") {
  Bench bench;
  const auto images = bench.images(3);
  const auto targets = targets_of({{1, 5}, {2, 0}, {6, 3}});
  // A sample of three images: what the body's program takes, and a few tensors of the image's size for each target.
  const auto& program = bench.network->program({kLogitsTap, {{Tap::Kind::Image, {}, -1}, true}});
  const auto per_sample =
      3 * (program.activation_bytes() + 4 * targets.size(1) * static_cast<int64_t>(images.nbytes()) / 3);
  // What fits in 32 MiB for each thread, 8 to 32 images, three of which are a sample.
  const int64_t cached = (int64_t{32} << 20) * at::get_num_threads() / (per_sample / 3);
  const int64_t most = std::clamp<int64_t>(cached, 8, 32) / 3;
  for (const bool concatenates : {false, true}) {
    const auto whole = bench.run(*sampled(1LL << 40, concatenates, 7), images, targets);
    EXPECT_EQUAL(whole.chunk, std::min<int64_t>(most, 7));
    const auto expected = output(whole, "map");
    EXPECT_EQUAL(expected.dim(), concatenates ? 6 : 5);
    for (const int64_t chunk : {1, 2, 3, 6}) {
      const auto result = bench.run(*sampled(per_sample * chunk, concatenates, 7), images, targets);
      EXPECT_EQUAL(result.chunk, std::min(most, chunk));
      expect_rounded(
          output(result, "map"), expected, sampled_operators(bench), images,
          [&](const at::Tensor& input) {
            return output(bench.run(*sampled(1LL << 40, concatenates, 7), input, targets), "map");
          },
          (concatenates ? "concatenate in chunks of " : "accumulate in chunks of ") + std::to_string(chunk));
    }
  }
}

TEST("loops: a batch of several images gives what each gives alone") {
  Bench bench;
  const auto images = bench.images(3);
  const auto targets = targets_of({{1}, {2}, {6}});
  const auto plan = sampled(1LL << 40, true, 4);
  const auto together = output(bench.run(*plan, images, targets), "map");
  for (int64_t i = 0; i < 3; ++i) {
    const auto alone = [&](const at::Tensor& input) {
      return output(bench.run(*plan, input, targets.narrow(0, i, 1)), "map");
    };
    const auto image = images.narrow(0, i, 1);
    expect_rounded(together.narrow(0, i, 1), alone(image), sampled_operators(bench), image, alone,
                   "image " + std::to_string(i));
  }
}

TEST("loops: accumulate is the sum of concatenate") {
  Bench bench;
  const auto images = bench.images(2);
  const auto targets = targets_of({{1}, {2}});
  const auto sum = [&](const at::Tensor& input) {
    return output(bench.run(*sampled(1LL << 40, false, 5), input, targets), "map");
  };
  const auto all = output(bench.run(*sampled(1LL << 40, true, 5), images, targets), "map");
  EXPECT_EQUAL(all.size(2), 5);
  expect_rounded(sum(images), all.sum(2), sampled_operators(bench), images, sum, "the sum");
}

TEST("loops: the memory of a loop is that of one chunk") {
  Bench bench;
  const auto images = bench.images(2);
  const auto targets = targets_of({{1}, {2}});
  const auto few = bench.measured(*sampled(1, false, 4), images, targets);
  const auto many = bench.measured(*sampled(1, false, 32), images, targets);
  EXPECT(many.peak <= few.peak + few.peak / 8, "4 samples take ", few.peak, " bytes, 32 take ", many.peak);
  EXPECT(many.left <= few.left + 1024, many.left, " bytes are left");
}

TEST("loops: iterate feeds each round's state to the next") {
  Bench bench;
  const auto images = bench.images(2);
  Recorder record;
  const int image = record.image();
  const int shift = record.step("scale", {image}, {{"factor", 0.0}});
  record.begin();
  const int state = record.parameter();
  const int round = record.parameter();
  const int captured = record.parameter();
  // state = 2 state + round + captured, the round's number as [batch] broadcast over the image.
  int number = round;
  for (const double axis : {1.0, 2.0, 3.0}) number = record.step("unsqueeze", {number}, {{"axis", axis}});
  int value = record.step("scale", {state}, {{"factor", 2.0}});
  value = record.step("add", {value, number});
  value = record.step("add", {value, captured});
  const auto body = record.end({value});
  record.output("map", record.loop("iterate", {image, shift}, body, 5));
  const auto result = output(bench.run(*record.plan(), images, no_targets(2)), "map");
  auto expected = images.clone();
  for (int i = 0; i < 5; ++i) expected = expected * 2 + i;
  // One sum a round in each, doubled by the rounds after it, as the values are.
  EXPECT(relative_difference(result, expected) <= 10 * kRoundoff);
}

TEST("interpreter: an abort amid a loop leaves the network usable") {
  Bench bench;
  const auto plan = sampled(1, false, 6);
  const auto images = bench.images(1);
  const auto targets = targets_of({{1}});
  const auto expected = output(bench.run(*plan, images, targets), "map");
  for (int limit = 1; limit < 30; limit += 3) {
    int left = limit;
    thrown_by([&] { bench.run(*plan, images, targets, [&] { return left-- == 0; }); });
  }
  EXPECT(output(bench.run(*plan, images, targets), "map").equal(expected));
}

}  // namespace sightline::test
