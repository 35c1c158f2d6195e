// Archives on the emulated device give what they give on the CPU, to the bit.
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>

#include <string>

#include "archives.h"
#include "device/device.h"
#include "plans.h"
#include "runner.h"

namespace sightline::test {

namespace {

const auto kNever = [] { return false; };

std::unique_ptr<Model> load(const Archive& archive, at::Device device, bool optimize) {
  LoadOptions options;
  options.path = archive.path();
  options.optimize = optimize;
  return std::make_unique<Model>(options, device);
}

// The logits, and the gradient of one class's score by the image.
std::shared_ptr<Plan> logits_and_gradient() {
  Recorder record;
  const auto tapped = record.forward(record.image(), {kLogitsTap, {{Tap::Kind::Image, {}, -1}, true}});
  record.output("logits", tapped[0]);
  record.output("slope", record.gradient(record.step("score", {tapped[0]}), {tapped[1]})[0]);
  return record.plan(tapped[0]);
}

BatchResult run(const Plan& plan, Model& model, const Archive& archive, const at::Tensor& images) {
  const auto targets = at::full({images.size(0), 1}, -1, at::kLong);
  const Asked asked{targets, at::full_like(targets, kNoClass), {}};
  return run_plan(plan, model.network(archive.height, archive.width), model.self(), images.to(model.device()), asked,
                  kNever);
}

}  // namespace

TEST("device: every archive's logits and gradients equal the CPU's to the bit") {
  start_device();
  const auto plan = logits_and_gradient();
  std::string failures;
  for (const auto& archive : archives()) {
    // LibTorch has no quantised kernels for accelerators.
    if (archive.is_quantised) continue;
    try {
      const auto images = archive.images(2);
      const auto expected = run(*plan, *load(archive, at::kCPU, false), archive, images);
      auto model = load(archive, emulated(), false);
      model->network(archive.height, archive.width);
      reset_waits();
      const auto found = run(*plan, *model, archive, images);
      for (size_t i = 0; i < found.outputs.size(); ++i) {
        const auto& values = found.outputs[i].values;
        EXPECT(values.isfinite().all().item<bool>(), found.outputs[i].name);
        EXPECT(values.equal(expected.outputs[i].values), found.outputs[i].name, " differs by ",
               relative_difference(values, expected.outputs[i].values));
      }
      EXPECT(found.targets.equal(expected.targets));
      // Nothing but the results: two outputs, and the targets with what they are compared with.
      const auto seen = waits();
      EXPECT_EQUAL(seen.read(), 4, seen.text());
      EXPECT(seen.faults.empty(), seen.text());
    } catch (const std::exception& error) {
      failures += "\n     " + archive.name + ": " + std::string(error.what()).substr(0, 700);
    }
  }
  EXPECT(failures.empty(), failures);
}

TEST("device: loading asks once for all weights whether they are finite") {
  start_device();
  const auto& archive = test::archive("timm-vit-fused-traced");
  reset_waits();
  const auto model = load(archive, emulated(), false);
  EXPECT_EQUAL(waits().read(), int64_t{1}, waits().text());
}

}  // namespace sightline::test
