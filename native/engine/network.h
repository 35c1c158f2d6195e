// A model at one input size: what can be tapped, and the programs that tap it.
#pragma once

#include "engine/pch.h"

#include "engine/attention_forms.h"
#include "engine/straighten.h"

namespace sightline {

// How a feature's axes are laid out.
enum class Layout { Tokens, ChannelsFirst, ChannelsLast, Vector, Other };
const char* layout_name(Layout layout);

// Where the patches of a feature [batch, tokens, channels] lie.
struct PatchGrid {
  int64_t height, width, prefix;
};

struct NodeInfo {
  std::string name;
  std::vector<int64_t> sizes;  // for one image, batch first
  Layout layout;
  std::optional<PatchGrid> grid;  // Layout::Tokens
};

struct SiteInfo {
  std::string name;
  std::string form;
  int64_t heads, tokens, keys, head_size, windows;
  std::string opaque;
};

// Patches in a grid, with class, distillation and register tokens before them.
struct TokenInfo {
  int64_t height, width, prefix;
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
  int64_t height, width, classes;
  bool has_module_names, is_quantized;
  bool was_training;  // traced in training mode, and set to inference here
  bool can_batch;     // false where the archive itself is made for one image at a time
  int64_t unknown_attention;  // softmaxes of no known attention form
  std::vector<NodeInfo> nodes;
  std::vector<SiteInfo> attention;
  std::optional<TokenInfo> tokens;
  std::optional<PooledHead> head;
  // The last spatial feature of a CNN, the input of the last attention of a ViT; empty if neither is found.
  std::string target_layer;
  int64_t operators;         // of one whole run
  int64_t activation_bytes;  // of all values of one run on one image, what a run with gradients may have to keep
};

// One thing to read out of a run.
struct Tap {
  enum class Kind { Logits, Image, Node, Attention, Query, Key, Value };
  Kind kind;
  std::string node;   // Kind::Node
  int64_t site = -1;  // Kind::Attention, Query, Key, Value
  auto operator<=>(const Tap&) const = default;
};

struct TapRequest {
  Tap tap;
  bool with_gradient = false;
  auto operator<=>(const TapRequest&) const = default;
};

// The graph with just the asked-for values as outputs, run by the plain interpreter: the profiling executor drops
// gradients of tapped values from its second run on.
class Program {
 public:
  Program(std::shared_ptr<torch::jit::Graph> graph, bool records_gradients);

  // Runs on `images` [N, 3, H, W]; returns one tensor per request, those with gradients attached to the autograd graph.
  std::vector<at::Tensor> run(const c10::IValue& self, const at::Tensor& images) const;
  // Operators that one run executes. Every program is straight, so each runs once.
  int64_t operators() const { return operators_; }
  bool records_gradients() const { return records_gradients_; }

 private:
  std::shared_ptr<torch::jit::Graph> graph_;
  torch::jit::Code code_;
  bool records_gradients_;
  int64_t operators_;
};

class Network {
 public:
  Network(const torch::jit::Module& module, const at::Tensor& example);

  const NetworkInfo& info() const { return info_; }
  // Programs are kept, one per set of requests. Not for use from several threads. Throws EngineError UNKNOWN_NODE or
  // METHOD_NOT_APPLICABLE.
  const Program& program(const std::vector<TapRequest>& requests);

 private:
  std::unique_ptr<Program> build(const std::vector<TapRequest>& requests) const;
  // Runs two random images, by the straight graph and by the archive's own: what differs must not be explained.
  void prove(const StraightGraph& straight, const torch::jit::Module& module, const at::Tensor& example);

  std::shared_ptr<torch::jit::Graph> master_;  // all that can be tapped is an output of it
  NetworkInfo info_;
  std::vector<AttentionSite> sites_;
  std::map<std::string, size_t> node_outputs_;
  std::set<std::string> without_batch_;  // nodes whose first axis is not the batch
  std::vector<std::array<size_t, 4>> site_outputs_;  // query, key, value, result
  std::vector<std::optional<at::ScalarType>> mask_dtypes_;
  std::optional<at::ScalarType> dtype_;
  std::map<std::vector<TapRequest>, std::unique_ptr<Program>> programs_;
};

}  // namespace sightline
