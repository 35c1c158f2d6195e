// An end to the first run of a model that nobody vouches for.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

namespace sightline {

// While it lives, runs of graphs with turns in them on this thread end by EngineError: MODEL_TOO_SLOW where loops take
// more turns than any model's, or all of it takes this thread more processor time than 10^13 floating-point operations
// and than a minute; OUT_OF_MEMORY where the process comes to hold most of the memory that was free (Linux). The
// interpreter cannot be stopped from outside, so the graph itself asks.
class TraceLimit {
 public:
  TraceLimit();
  ~TraceLimit();
  TraceLimit(const TraceLimit&) = delete;
  TraceLimit& operator=(const TraceLimit&) = delete;
};

// Puts sightline::turn() -> (), which does the asking, into every loop and after every few operators, where a limit is on.
void insert_turns(torch::jit::Graph& graph);
// Takes them out again.
void remove_turns(torch::jit::Graph& graph);

}  // namespace sightline
