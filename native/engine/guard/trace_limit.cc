#include "engine/guard/trace_limit.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>
#include <unistd.h>

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
constexpr auto kLongest = std::chrono::seconds(60);
constexpr int kTurnEvery = 64;  // operators
constexpr double kShareOfFree = 0.8;

struct Watch {
  bool is_on = false;
  int64_t turns = 0;
  std::chrono::nanoseconds end{0};  // of the thread's processor time
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

void turn() {
  if (!watch.is_on) return;
  const bool is_time_up = ++watch.turns > kMostTurns || processor_time() > watch.end;
  const bool is_memory_up = watch.most_resident > 0 && resident_bytes() > watch.most_resident;
  if (is_memory_up) {
    throw EngineError("OUT_OF_MEMORY", "The model takes nearly all of the machine's memory to run on one image; use a smaller size.");
  }
  if (is_time_up) {
    throw EngineError("UNTRUSTED_ARCHIVE",
                      "The model takes more turns of its loops for one image, or longer, than any classifier does, so it may never "
                      "end; load it with trust: true (--trust) if you know it.");
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
  const auto most = available > 0 ? resident_bytes() + static_cast<int64_t>(kShareOfFree * static_cast<double>(available)) : 0;
  watch = {true, 0, processor_time() + kLongest, most};
}

TraceLimit::~TraceLimit() { watch = {}; }

}  // namespace sightline
