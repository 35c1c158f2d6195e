#include "engine/guard/trace_limit.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <c10/core/InferenceMode.h>
#include <torch/library.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>

#include "engine/errors.h"

namespace sightline {

namespace {

// What this thread has computed: on a busy machine an honest model takes long by the clock.
std::chrono::nanoseconds processor_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;

constexpr int64_t kMostTurns = 10'000;
// What no classifier takes: the time of so many floating-point operations on this machine, and not less than a minute.
constexpr double kMostOperations = 1e13;
constexpr auto kLeastLimit = std::chrono::seconds(60);
constexpr int kTurnEvery = 64;  // operators
constexpr double kShareOfFree = 0.8;

struct Watch {
  bool is_on = false;
  bool is_speed_known = false;
  int64_t turns = 0;
  std::chrono::nanoseconds start{0};  // of the thread's processor time, as the end
  std::chrono::nanoseconds end{0};
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

// Of this thread on this machine, by a matrix product: the fastest that a model can be computed, so that the limit never
// is longer than the operations take.
double operations_per_second() {
  constexpr int64_t kSize = 512;
  constexpr int kProducts = 8;
  const c10::InferenceMode guard;
  const auto matrix = at::ones({kSize, kSize});
  auto product = matrix.mm(matrix);  // the first one makes the kernel ready
  const auto start = processor_time();
  for (int i = 0; i < kProducts; ++i) at::mm_out(product, matrix, matrix);
  const auto seconds = std::chrono::duration<double>(processor_time() - start).count();
  return 2.0 * kProducts * kSize * kSize * kSize / std::max(seconds, 1e-9);
}

// A slow machine gets longer. Its speed is measured only for a model that takes long.
bool is_processor_time_up() {
  if (processor_time() <= watch.end) return false;
  if (!watch.is_speed_known) {
    watch.is_speed_known = true;
    const std::chrono::duration<double> most(kMostOperations / operations_per_second());
    watch.end = std::max(watch.end, watch.start + std::chrono::duration_cast<std::chrono::nanoseconds>(most));
  }
  return processor_time() > watch.end;
}

void turn() {
  if (!watch.is_on) return;
  const bool is_time_up = ++watch.turns > kMostTurns || is_processor_time_up();
  const bool is_memory_up = watch.most_resident > 0 && resident_bytes() > watch.most_resident;
  if (is_memory_up) {
    throw EngineError("OUT_OF_MEMORY",
                      "The model takes nearly all of the machine's memory to run on one image; use a smaller size.");
  }
  if (is_time_up) {
    throw EngineError(
        "MODEL_TOO_SLOW",
        "The model takes more turns of its loops for one image, or longer, than any classifier does, so it may never "
        "end; load it with trust: true (--trust) if you know that it ends.");
  }
}

c10::Symbol turn_symbol() { return c10::Symbol::fromQualString("sightline::turn"); }

void insert_turns(Block* block, Graph& graph, bool is_loop) {
  int passed = is_loop ? kTurnEvery : 0;
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    if (passed++ >= kTurnEvery) {
      graph.create(turn_symbol(), 0)->insertBefore(node);
      passed = 1;
    }
    for (Block* inner : node->blocks()) insert_turns(inner, graph, node->kind() == c10::prim::Loop);
  }
}

void remove_turns(Block* block) {
  for (auto it = block->nodes().begin(); it != block->nodes().end();) {
    Node* node = *it++;
    for (Block* inner : node->blocks()) remove_turns(inner);
    if (node->kind() == turn_symbol()) node->destroy();
  }
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(sightline, library) {
  // As in graph_ops.cc: another copy of the package may have been here before. Its turns then know nothing of this copy's
  // limits, and end nothing.
  if (c10::Dispatcher::singleton().findSchema({"sightline::turn", ""})) return;
  library.def("turn() -> ()", &turn);
}

void insert_turns(Graph& graph) {
  if (watch.is_on) insert_turns(graph.block(), graph, false);
}

void remove_turns(Graph& graph) { remove_turns(graph.block()); }

TraceLimit::TraceLimit() {
  const auto available = number_in("/proc/meminfo", "MemAvailable: %lld kB") * 1024;
  const auto most =
      available > 0 ? resident_bytes() + static_cast<int64_t>(kShareOfFree * static_cast<double>(available)) : 0;
  const auto start = processor_time();
  watch = {.is_on = true, .start = start, .end = start + kLeastLimit, .most_resident = most};
}

TraceLimit::~TraceLimit() { watch = {}; }

}  // namespace sightline
