// Rules that change what a backward pass carries: gradients become guided gradients or relevance. Values never change.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <string>
#include <unordered_map>
#include <vector>

namespace sightline {

// Which rule a run's backward pass follows.
struct Rule {
  // One of:
  //   ""                 the ordinary gradient;
  //   "guided-backprop"  what leaves a rectifier backwards is cut to its positive part (Springenberg et al. 2015);
  //   "deconvnet"        what enters a rectifier backwards is, and its derivative is left out (Zeiler & Fergus 2014);
  //   "attn-lrp"         gradient times value is relevance, at every value (Achtibat et al. 2024);
  //   "cp-lrp"           likewise, with the attention's probabilities held fast (Ali et al. 2022);
  //   "lrp"              the gradient itself is relevance, at every value (Chefer, Gur & Wolf, CVPR 2021);
  //   "deeplift"         gradient times difference to a baseline is the difference of scores (Shrikumar et al. 2017). The
  //                      graph's input is pairs [N, 2, C, H, W] of images and baselines; values are the images'.
  std::string name;
  // The gamma of linear layers and of convolutions under "attn-lrp" and "cp-lrp"; 0: their ordinary gradient.
  double linear_gamma = 0, convolution_gamma = 0;

  auto operator<=>(const Rule&) const = default;
};

// Whether the rule compares two images, so that its graph takes pairs of them.
bool compares_images(const Rule& rule);

// Values whose part others took over: a tap of the key must be moved to the value.
using Replacements = std::unordered_map<torch::jit::Value*, torch::jit::Value*>;

// The names that a rule may have, but for the ordinary gradient's.
std::vector<std::string> rule_names();

// Rewrites the local gradients of a straight graph (inputs: module, image; parameters are constants) to those of `rule`.
//
// No node is destroyed and no value changes, but the gradient that the rule means for a replaced value is its
// replacement's; graph outputs are moved along. Every image of a batch is treated as if alone.
//
// Reshapings that lie between a value and its tap must be put in afterwards. Throws EngineError METHOD_NOT_APPLICABLE,
// naming the operator, where the rule says nothing about an operator on the way from the image to an output, and
// INVALID_OPTION for a rule that does not exist.
Replacements apply_rule(torch::jit::Graph& graph, const Rule& rule);

}  // namespace sightline
