// A loaded archive on a device. Lives on its device's worker thread.
#pragma once

#include <deque>

#include "engine/exported_program.h"
#include "engine/programs/network.h"
#include "engine/shuffled_weights.h"
#include "engine/weights.h"

namespace sightline {

struct LoadOptions {
  std::string path;
  std::string file;             // where the archive is read from, if not by its path: the very file that was checked
  std::string device = "auto";  // "auto", "cpu", "cuda", "cuda:1"
  std::string dtype = "f32";    // "f32", "bf16", "f16"
  bool cuda_graphs = true;      // whether runs that repeat are captured, where the device and the build can
  std::optional<WeightPlan> weights;       // what the archive's tensors are filled with, where it is a graph alone
  std::optional<ExportedProgram> program;  // in place of an archive: what torch.export wrote
  bool optimize = true;                    // false: the graph runs as it was exported, operator for operator
  OutputChoice choice;                     // which output is explained, and what its scores are
  int64_t channels = 0;                    // of its images; 0: as its first convolution says, else 3
  std::optional<Shuffling> shuffling;      // the numbers within parameters are shuffled
  bool trusted = false;                    // true: any operator may run, for as long as it likes
};

// The devices of the backend that another library has put into LibTorch's place for third parties, such as "npu:0"; none
// where there is no such library.
std::vector<std::string> other_devices();
// "auto" becomes "cuda:0" where CUDA runs, else "cpu". Throws EngineError DEVICE_UNAVAILABLE, INVALID_OPTION.
at::Device resolve_device(const std::string& name);

// What whoever runs a network keeps of its runs. It goes before the network, whose constants it may read.
class RunCache {
 public:
  virtual ~RunCache() = default;
};

class Model {
 public:
  // Throws EngineError NOT_TORCHSCRIPT, UNTRUSTED_ARCHIVE, MODEL_TOO_SLOW, UNSUPPORTED_MODEL, FILE_NOT_FOUND,
  // INVALID_WEIGHTS, OUT_OF_MEMORY.
  Model(const LoadOptions& options, at::Device device);

  // The model at an input size, straightened on first use. Sizes are few; the last 8 used are kept. `output`: the one that is
  // explained, by name; empty for the one that was chosen when it was loaded.
  Network& network(int64_t height, int64_t width, const std::string& output = {});
  // Whether that needs no straightening, and so lets no other network go.
  bool has_network(int64_t height, int64_t width, const std::string& output = {}) const;
  // Of the network that was asked for last; null until somebody sets it.
  std::unique_ptr<RunCache>& run_cache() { return networks_.front().runs; }
  // Lets what was kept of all networks' runs go, for its memory.
  void drop_run_caches();
  // Whether its user lets runs that repeat be captured.
  bool allows_captures() const { return allows_captures_; }

  const c10::IValue& self() const { return self_; }
  at::Device device() const { return device_; }
  at::ScalarType dtype() const { return dtype_; }
  int64_t weight_bytes() const { return weight_bytes_; }
  // What is odd about its weights, as sentences without the archive's name.
  const std::vector<std::string>& remarks() const { return remarks_; }
  // What weights made ready for programs take besides.
  int64_t prepared_bytes() const { return weights_ ? weights_->bytes() : 0; }

 private:
  torch::jit::Module module_;
  c10::IValue self_;
  at::Device device_;
  at::ScalarType dtype_;
  std::shared_ptr<PreparedWeights> weights_;
  int64_t weight_bytes_ = 0;
  std::vector<std::string> remarks_;
  bool trusted_;
  OutputChoice choice_;
  std::string usual_output_;  // the chosen one, or the one that a graph gave where none was; empty until one was asked
  int64_t channels_;          // 0 until the graph was asked

  struct Sized {
    std::pair<int64_t, int64_t> size;
    bool is_usual;  // of the output that is explained where none is named
    std::unique_ptr<Network> network;
    std::unique_ptr<RunCache> runs;  // after the network, so that it goes first
  };
  bool is_of(const Sized& each, const std::pair<int64_t, int64_t>& size, const std::string& output) const;

  std::deque<Sized> networks_;  // last used first
  bool allows_captures_;
};

}  // namespace sightline
