#include "engine/trace_limit.h"

#include <torch/csrc/jit/frontend/tracer.h>
#include <unistd.h>

#include <cstdio>

#include "engine/errors.h"

namespace sightline {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kMostOperators = 30'000;
constexpr auto kLongest = std::chrono::seconds(60);
// Looking at the memory costs as much as a small operator.
constexpr int64_t kLookEvery = 16;
constexpr double kShareOfFree = 0.8;

struct Watch {
  bool is_on = false;
  int64_t operators = 0;
  Clock::time_point end;
  int64_t most_resident = 0;  // 0: not known
};

thread_local Watch watch;

// A number of a file of the kernel's; 0 where there is none.
int64_t number_in(const char* path, const char* format) {
  auto* file = std::fopen(path, "r");
  if (file == nullptr) return 0;
  long long number = 0;
  char line[256];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::sscanf(line, format, &number) == 1) break;
    number = 0;
  }
  std::fclose(file);
  return number;
}

int64_t resident_bytes() { return number_in("/proc/self/statm", "%*d %lld") * sysconf(_SC_PAGESIZE); }

// LibTorch asks it for the line of Python that an operator came from, before it runs the operator.
void count_operator(torch::jit::Node*) {
  if (!watch.is_on) return;
  const bool is_time_up = ++watch.operators > kMostOperators || Clock::now() > watch.end;
  const bool is_memory_up = watch.most_resident > 0 && watch.operators % kLookEvery == 0 && resident_bytes() > watch.most_resident;
  if (is_memory_up) {
    throw EngineError("OUT_OF_MEMORY", "The model takes nearly all of the machine's memory to run on one image; use a smaller size.");
  }
  if (is_time_up) {
    throw EngineError("UNTRUSTED_ARCHIVE",
                      "The model runs more operators on one image, or longer, than any classifier does, so it may never end; load "
                      "it with trust: true (--trust) if you know it.");
  }
}

}  // namespace

TraceLimit::TraceLimit() {
  static std::once_flag once;
  std::call_once(once, [] { torch::jit::tracer::setRecordSourceLocation(count_operator); });
  const auto available = number_in("/proc/meminfo", "MemAvailable: %lld kB") * 1024;
  const auto most = available > 0 ? resident_bytes() + static_cast<int64_t>(kShareOfFree * static_cast<double>(available)) : 0;
  watch = {true, 0, Clock::now() + kLongest, most};
}

TraceLimit::~TraceLimit() { watch = {}; }

}  // namespace sightline
