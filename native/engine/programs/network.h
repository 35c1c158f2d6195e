// A model at one input size: what can be tapped, and the programs that tap it.
#pragma once

#include <map>

#include "engine/programs/program.h"
#include "engine/programs/request.h"
#include "engine/programs/taps.h"
#include "engine/programs/tuning/prepared_weights.h"

namespace sightline {

class Network {
 public:
  // `weights`: where programs keep the weights that they prepare; none where the graph is to run as it was exported.
  Network(const torch::jit::Module& module, const at::Tensor& example, std::shared_ptr<PreparedWeights> weights,
          const OutputChoice& choice = {});

  const NetworkInfo& info() const { return info_; }
  // Programs are kept, one per request: the 64 used last. Not for use from several threads; a reference is good until the
  // next call. Throws EngineError UNKNOWN_NODE or METHOD_NOT_APPLICABLE.
  const Program& program(const ProgramRequest& request);
  // Counts how often programs were let go: whoever keeps anything of one compares it.
  int64_t generation() const { return generation_; }
  const Program& program(const std::vector<TapRequest>& taps, const Rule& rule = {}) {
    return program(ProgramRequest{taps, rule, {}});
  }

 private:
  std::unique_ptr<Program> build(const ProgramRequest& request) const;
  void tune(torch::jit::Graph& graph, const std::vector<torch::jit::Value*>& seeds, at::ScalarType dtype,
            const ProgramRequest& request) const;

  Tappable tappable_;
  NetworkInfo info_;
  at::Device device_;
  std::shared_ptr<PreparedWeights> weights_;
  struct KeptProgram {
    std::unique_ptr<Program> program;
    int64_t used;  // the greater, the later
  };
  std::map<ProgramRequest, KeptProgram> programs_;
  int64_t uses_ = 0;
  int64_t generation_ = 0;
};

}  // namespace sightline
