// An end to the first run of a model that nobody vouches for.
#pragma once

#include "engine/pch.h"

namespace sightline {

// While it lives, a trace on this thread that records more operators than any model has throws EngineError
// UNTRUSTED_ARCHIVE. The interpreter cannot be stopped from outside; the tracer, which every tensor operator passes, can.
class TraceLimit {
 public:
  explicit TraceLimit(int64_t most_operators = 200'000);
  ~TraceLimit();
  TraceLimit(const TraceLimit&) = delete;
  TraceLimit& operator=(const TraceLimit&) = delete;
};

}  // namespace sightline
