#include "engine/device/batch_limits.h"

#include <algorithm>

namespace sightline {

namespace {

template <typename T>
bool is_same(const std::weak_ptr<T>& one, const std::weak_ptr<T>& other) {
  // By what owns them: an address may belong to another object by now.
  return !one.owner_before(other) && !other.owner_before(one);
}

bool is_same(const BatchLimits::Kind& one, const BatchLimits::Kind& other) {
  return one.height == other.height && one.width == other.width && one.targets == other.targets &&
         is_same(one.model, other.model) && is_same(one.plan, other.plan);
}

}  // namespace

void BatchLimits::remember(const Kind& kind, int64_t images, Clock::time_point now) {
  // The second half of a batch whose first half was halved again must not raise what that has taught.
  images = std::max<int64_t>(1, most(kind, images, now));
  std::erase_if(limits_, [&](const Limit& limit) {
    return limit.until <= now || limit.kind.model.expired() || limit.kind.plan.expired() || is_same(limit.kind, kind);
  });
  limits_.push_back({kind, images, now + kHolds});
}

int64_t BatchLimits::most(const Kind& kind, int64_t wanted, Clock::time_point now) const {
  for (const auto& limit : limits_) {
    if (now < limit.until && is_same(limit.kind, kind)) return std::min(wanted, limit.images);
  }
  return wanted;
}

}  // namespace sightline
