#include "engine/trace_limit.h"

#include <torch/csrc/jit/frontend/tracer.h>

#include "engine/errors.h"

namespace sightline {

namespace {

constexpr int64_t kNoLimit = -1;
thread_local int64_t operators_left = kNoLimit;

// LibTorch asks it for the line of Python that an operator came from, before it runs the operator.
void count_operator(torch::jit::Node*) {
  if (operators_left == kNoLimit) return;
  if (operators_left-- > 0) return;
  operators_left = 0;
  throw EngineError("UNTRUSTED_ARCHIVE",
                    "The model runs more operators on one image than any classifier does, so it may never end; load it with "
                    "trust: true (--trust) if you know it.");
}

}  // namespace

TraceLimit::TraceLimit(int64_t most_operators) {
  static std::once_flag once;
  std::call_once(once, [] { torch::jit::tracer::setRecordSourceLocation(count_operator); });
  operators_left = most_operators;
}

TraceLimit::~TraceLimit() { operators_left = kNoLimit; }

}  // namespace sightline
