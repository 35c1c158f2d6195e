#include "engine/device/request.h"

namespace sightline {

Counters& counters() {
  static auto* instance = new Counters;
  return *instance;
}

void fail(Request& request, const EngineError& error) {
  counters().failed += 1;
  request.failed(error);
}

void settle(Request& request, const EngineError& error) {
  counters().running -= 1;
  fail(request, error);
}

BatchLimits::Kind kind_of(const Request& request) {
  return {request.model, request.plan, request.height, request.width, static_cast<int64_t>(request.targets.size())};
}

}  // namespace sightline
