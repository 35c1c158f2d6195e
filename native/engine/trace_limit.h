// An end to the first run of a model that nobody vouches for.
#pragma once

#include "engine/pch.h"

namespace sightline {

// While it lives, a trace on this thread ends by EngineError: UNTRUSTED_ARCHIVE where it records more operators than any
// model has or takes longer than any does, OUT_OF_MEMORY where the process comes to hold most of the memory that was free
// (Linux; else the system's own ways of ending it apply). The interpreter cannot be stopped from outside; the tracer, which
// every tensor operator passes, can.
class TraceLimit {
 public:
  TraceLimit();
  ~TraceLimit();
  TraceLimit(const TraceLimit&) = delete;
  TraceLimit& operator=(const TraceLimit&) = delete;
};

}  // namespace sightline
