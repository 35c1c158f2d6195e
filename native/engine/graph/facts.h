// What is known of a model at one input size: plain types, filled by reading its straight graph and by the proof.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/graph/outputs.h"

namespace sightline {

// How a feature's axes are laid out.
enum class Layout { Tokens, ChannelsFirst, ChannelsLast, Vector, Other };
const char* layout_name(Layout layout);

// Where the patches of a feature [batch, tokens, channels] lie.
struct PatchGrid {
  int64_t height, width, prefix, suffix;
  // Where they lie in another order than that of rows, such as window by window: over all axes but the last, the entry of
  // each patch, row by row, and then the entries without a place.
  std::vector<int64_t> order = {};
};

struct NodeInfo {
  std::string name;
  std::vector<int64_t> sizes;  // for one image, batch first
  Layout layout;
  std::optional<PatchGrid> grid;       // Layout::Tokens
  std::string op;                      // whose output it is, such as "conv2d"
  at::Tensor bias;                     // [channels], of convolutions and batch norms that add one
  std::optional<int64_t> flops_after;  // of the operators that read it, directly or not
  int64_t bytes_after;                 // of the values that they make
  std::string gradient_obstacle;       // as GradientPaths has it
};

struct SiteInfo {
  std::string name;
  std::string form;
  int64_t heads, tokens, keys, head_size, windows;
  std::string unsupported;
  std::string altered;                 // as in AttentionSite
  std::optional<int64_t> flops_after;  // of the operators that read the probabilities, directly or not
  int64_t bytes_after;                 // of the values that they make
  std::string gradient_obstacle;       // as GradientPaths has it
  // Around the attention, where the graph tells; else undefined.
  at::Tensor output_projection;  // [channels, heads, head_size]
  at::Tensor norm_weight;        // [channels], of the layer norm that reads the block's sum
  bool is_in_stream = false;     // whether its output projection and the sum that it is added to are known
};

// Patches in a grid, with class, distillation and register tokens before and after them.
struct TokenInfo {
  int64_t height, width, prefix, suffix;
  // The token whose final state is classified, or none where the head takes the mean of the patches.
  std::optional<int64_t> class_token;
  // Whether the graph or an experiment tells which tokens the scores are made of; else `class_token` says nothing.
  bool is_read_known = true;
};

// logits = weight * mean over space of feature + bias: what makes CAM exact.
struct PooledHead {
  std::string feature;
  Layout layout;
  at::Tensor weight;  // [classes, channels]
  at::Tensor bias;    // [classes] or undefined
};

// The operator at which the places of the image were lost, such as "fft_fft2", and the module that it is in or leads to.
struct LostPlaces {
  std::string node, op;
};

struct NetworkInfo {
  int64_t channels;  // of the images
  bool
      is_channels_last;  // whether the archive itself takes them as [N, H, W, channels]; here they are [N, channels, H, W]
  int64_t height, width, classes;     // no classes where the output is no scores
  std::vector<int64_t> output_sizes;  // of the logits, or of what is no scores; for one image, batch first
  std::vector<OutputInfo> outputs;    // all that the model returns
  std::string output;                 // the one that is explained
  std::string scores, activation;     // as in Answer
  bool has_module_names, is_quantized;
  bool was_training;  // traced in training mode, and set to inference here
  bool can_batch;  // false where the archive is made for one image at a time, or its images change each other's values
  bool images_interact;  // an image has other values alone than beside another: statistics or a scale are the batch's
  int64_t unknown_attention;  // softmaxes of no known attention form
  // By the name of a rule of the backward pass that cannot be followed through this graph: why, as a sentence.
  std::map<std::string, std::string> rule_reasons;
  std::string gradient_obstacle;  // of the image, as GradientPaths has it
  bool has_parallel_attention;    // attentions side by side, which do not follow one another
  std::vector<NodeInfo> nodes;
  std::vector<SiteInfo> attention;
  std::optional<TokenInfo> tokens;
  std::optional<PooledHead> head;
  // As find_target_layer says; empty where places are lost behind it.
  std::string target_layer;
  std::optional<LostPlaces> places_lost_at;
  int64_t operators;             // of one whole run
  int64_t activation_bytes;      // of all values of one run on one image, what a run with gradients may have to keep
  std::optional<int64_t> flops;  // of one run on one image; see flops.h
  std::optional<int64_t> parameters;
};

}  // namespace sightline
