// A model at one input size: what can be tapped, and the programs that tap it.
#pragma once

#include <torch/csrc/jit/runtime/interpreter.h>

#include <array>
#include <set>

#include "engine/attention_forms.h"
#include "engine/prepared_weights.h"
#include "engine/relevance.h"
#include "engine/straighten.h"

namespace sightline {

// How a feature's axes are laid out.
enum class Layout { Tokens, ChannelsFirst, ChannelsLast, Vector, Other };
const char* layout_name(Layout layout);

// Where the patches of a feature [batch, tokens, channels] lie.
struct PatchGrid {
  int64_t height, width, prefix, suffix;
};

struct NodeInfo {
  std::string name;
  std::vector<int64_t> sizes;  // for one image, batch first
  Layout layout;
  std::optional<PatchGrid> grid;  // Layout::Tokens
  std::string op;                 // whose output it is, such as "conv2d"
  at::Tensor bias;                // [channels], of convolutions and batch norms that add one
  std::optional<int64_t> flops_after;  // of the operators that read it, directly or not
  int64_t bytes_after;                 // of the values that they make
};

struct SiteInfo {
  std::string name;
  std::string form;
  int64_t heads, tokens, keys, head_size, windows;
  std::string opaque;
  std::optional<int64_t> flops_after;  // of the operators that read the probabilities, directly or not
  int64_t bytes_after;                 // of the values that they make
  // Around the attention, where the graph tells; else undefined.
  at::Tensor output_projection;  // [channels, heads, head_size]
  at::Tensor norm_weight;        // [channels], of the layer norm that reads the block's sum
};

// Patches in a grid, with class, distillation and register tokens before and after them.
struct TokenInfo {
  int64_t height, width, prefix, suffix;
  // The token whose final state is classified, or none where the head takes the mean of the patches.
  std::optional<int64_t> class_token;
};

// logits = weight * mean over space of feature + bias: what makes CAM exact.
struct PooledHead {
  std::string feature;
  Layout layout;
  at::Tensor weight;  // [classes, channels]
  at::Tensor bias;    // [classes] or undefined
};

struct NetworkInfo {
  int64_t height, width, classes;    // no classes where the output is no scores
  std::vector<int64_t> output_sizes;  // of the logits, or of what is no scores; for one image, batch first
  std::vector<OutputInfo> outputs;    // all that the model returns
  std::string output;                 // the one that is explained
  std::string scores, activation;     // as in Answer
  bool has_module_names, is_quantized;
  bool was_training;  // traced in training mode, and set to inference here
  bool can_batch;     // false where the archive is made for one image at a time, or its images change each other's values
  bool images_interact;  // an image has other values alone than beside another: statistics or a scale are the batch's
  int64_t unknown_attention;  // softmaxes of no known attention form
  bool has_parallel_attention;  // attentions side by side, which do not follow one another
  std::vector<NodeInfo> nodes;
  std::vector<SiteInfo> attention;
  std::optional<TokenInfo> tokens;
  std::optional<PooledHead> head;
  // The last spatial feature of a CNN, the input of the last attention of a ViT; empty if neither is found.
  std::string target_layer;
  int64_t operators;         // of one whole run
  int64_t activation_bytes;  // of all values of one run on one image, what a run with gradients may have to keep
  std::optional<int64_t> flops;       // of one run on one image; see flops.h
  std::optional<int64_t> parameters;
};

// One thing to read out of a run.
struct Tap {
  enum class Kind { Logits, Output, Image, Node, Attention, Query, Key, Value, Residual, Mixed };
  Kind kind;
  std::string node;   // Kind::Node
  int64_t site = -1;  // all after Kind::Node
  auto operator<=>(const Tap&) const = default;
};

struct TapRequest {
  Tap tap;
  bool with_gradient = false;
  auto operator<=>(const TapRequest&) const = default;
};

// What a program is made for.
struct ProgramRequest {
  std::vector<TapRequest> taps;
  Rule rule;
  // Values that are given rather than computed. Where there are any, the program goes in two parts: what does not depend
  // on them, computed once for the images, and what does.
  std::vector<Tap> replaces;
  // Whether its gradients are differentiated: fused attention, whose derivative has none, is opened everywhere.
  bool is_smooth = false;
  // Whether gradients are taken with respect to what its inputs were computed from.
  bool keeps_graph = false;
  auto operator<=>(const ProgramRequest&) const = default;
};

// A straight graph, run by the plain interpreter: the profiling executor drops gradients of tapped values from its second
// run on.
class GraphCode {
 public:
  explicit GraphCode(std::shared_ptr<torch::jit::Graph> graph);
  std::vector<at::Tensor> run(std::vector<c10::IValue> inputs, bool records_gradients) const;
  // Operators that one run executes.
  int64_t operators() const { return operators_; }

 private:
  std::shared_ptr<torch::jit::Graph> graph_;
  torch::jit::Code code_;
  int64_t operators_;
};

// The graph with just the asked-for values as outputs.
class Program {
 public:
  // `is_widened`: whether it computes in float32 though the model does not.
  Program(std::shared_ptr<torch::jit::Graph> graph, bool records_gradients, int64_t activation_bytes, bool is_widened);
  Program(std::shared_ptr<torch::jit::Graph> before, std::shared_ptr<torch::jit::Graph> behind, bool records_gradients,
          int64_t activation_bytes);

  // Runs on `images` [N, 3, H, W]; returns one tensor per request, those with gradients attached to the autograd graph.
  // `keeps_graph`: whether gradients may be taken with respect to what `images` was computed from.
  std::vector<at::Tensor> run(const c10::IValue& self, const at::Tensor& images, bool keeps_graph = false) const;

  // A program with replaced values: what does not depend on them.
  std::vector<at::Tensor> run_before(const c10::IValue& self, const at::Tensor& images) const;
  // The rest, for `values` of N times as many rows as `before` has images; in float32 whatever the model's dtype.
  std::vector<at::Tensor> run_behind(const c10::IValue& self, const std::vector<at::Tensor>& before, int64_t images,
                                     const std::vector<at::Tensor>& values, bool keeps_graph) const;

  int64_t operators() const { return code_.operators(); }
  int64_t operators_before() const { return before_ ? before_->operators() : 0; }
  // What one image takes while it runs: all values where gradients are recorded, else the most that live at once.
  int64_t activation_bytes() const { return activation_bytes_; }

 private:
  std::optional<GraphCode> before_;
  GraphCode code_;
  bool records_gradients_;
  int64_t activation_bytes_;
  bool is_widened_ = false;
};

class Network {
 public:
  // `weights`: where programs keep the weights that they prepare; none where the graph is to run as it was exported.
  Network(const torch::jit::Module& module, const at::Tensor& example, std::shared_ptr<PreparedWeights> weights, const OutputChoice& choice = {});

  const NetworkInfo& info() const { return info_; }
  // Programs are kept, one per request: the 64 used last. Not for use from several threads; a reference is good until the
  // next call. Throws EngineError UNKNOWN_NODE or METHOD_NOT_APPLICABLE.
  const Program& program(const ProgramRequest& request);
  // Counts how often programs were let go: whoever keeps anything of one compares it.
  int64_t generation() const { return generation_; }
  const Program& program(const std::vector<TapRequest>& taps, const Rule& rule = {}) { return program(ProgramRequest{taps, rule, {}}); }

 private:
  std::unique_ptr<Program> build(const ProgramRequest& request) const;
  void tune(torch::jit::Graph& graph, const std::vector<torch::jit::Value*>& seeds, at::ScalarType dtype, const ProgramRequest& request) const;
  std::vector<torch::jit::Value*> find_taps(torch::jit::Graph& graph, const ProgramRequest& request) const;
  // Runs two random images, by the straight graph and by the archive's own: what differs must not be explained. And the
  // first of them alone: what differs must not be run in batches.
  void prove(const StraightGraph& straight, const torch::jit::Module& module, const at::Tensor& example);

  std::shared_ptr<torch::jit::Graph> master_;  // all that can be tapped is an output of it
  NetworkInfo info_;
  std::vector<AttentionSite> sites_;
  std::map<std::string, size_t> node_outputs_;
  std::set<std::string> without_batch_;  // nodes whose first axis is not the batch
  std::vector<std::array<size_t, 4>> site_outputs_;  // query, key, value, result
  std::vector<std::array<size_t, 2>> stream_outputs_;  // residual, mixed; 0 where the graph does not tell
  std::vector<std::optional<at::ScalarType>> mask_dtypes_;
  std::optional<at::ScalarType> dtype_;
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
