// How long a batch that was too large is remembered, and for whom.
#include "engine/device/batch_limits.h"
#include "archives.h"
#include "engine/model.h"
#include "plans.h"
#include "runner.h"

namespace sightline::test {

namespace {

std::shared_ptr<Plan> a_plan() {
  Recorder record;
  record.output("map", record.image());
  return record.plan();
}

}  // namespace

TEST("batch limits: hold for their plan, size and targets, and for ten minutes") {
  const std::shared_ptr<Model> model(archive("mlp").load().release());
  const auto plan = a_plan(), other = a_plan();
  BatchLimits limits;
  EXPECT(limits.is_empty());
  const auto start = BatchLimits::Clock::now();
  const BatchLimits::Kind kind{model, plan, 8, 8, 1};
  EXPECT_EQUAL(limits.most(kind, 32, start), 32);
  limits.remember(kind, 16, start);
  EXPECT(!limits.is_empty());
  EXPECT_EQUAL(limits.most(kind, 32, start), 16);
  EXPECT_EQUAL(limits.most(kind, 4, start), 4);
  EXPECT_EQUAL(limits.most({model, other, 8, 8, 1}, 32, start), 32);
  EXPECT_EQUAL(limits.most({model, plan, 8, 16, 1}, 32, start), 32);
  EXPECT_EQUAL(limits.most({model, plan, 8, 8, 2}, 32, start), 32);
  limits.remember(kind, 8, start + std::chrono::minutes(8));
  limits.remember(kind, 12, start + std::chrono::minutes(9));
  EXPECT_EQUAL(limits.most(kind, 32, start + std::chrono::minutes(18)), 8);
  EXPECT_EQUAL(limits.most(kind, 32, start + std::chrono::minutes(19)), 32);
  limits.remember(kind, 0, start + std::chrono::minutes(20));
  EXPECT_EQUAL(limits.most(kind, 32, start + std::chrono::minutes(20)), 1, "a batch has at least one image");
}

TEST("batch limits: an address used again is not the plan that was there") {
  const std::shared_ptr<Model> model(archive("mlp").load().release());
  BatchLimits limits;
  alignas(Plan) unsigned char place[sizeof(Plan)];
  const auto at_place = [&] { return std::shared_ptr<Plan>(new (place) Plan, [](Plan* plan) { plan->~Plan(); }); };
  auto plan = at_place();
  limits.remember({model, plan, 8, 8, 1}, 2);
  EXPECT_EQUAL(limits.most({model, plan, 8, 8, 1}, 32), 2);
  plan.reset();
  plan = at_place();
  EXPECT_EQUAL(limits.most({model, plan, 8, 8, 1}, 32), 32);
}

}  // namespace sightline::test
