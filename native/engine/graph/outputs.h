// What a model returns: all of it by name, the part that is explained, and what its numbers are.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <string>
#include <utility>
#include <vector>

namespace sightline {

// What the user says of the images and the outputs; empty where the graph is to tell.
struct OutputChoice {
  std::string output;             // by name
  std::string scores;             // as in Answer
  bool is_channels_last = false;  // the images that the archive takes
  bool is_for_one_image = false;  // exported for one image at a time
};

struct OutputInfo {
  std::string name;
  std::vector<int64_t> sizes;  // for one image
};

// Tensors inside tuples, lists and dicts by their path (`0`, `logits`, `aux.1`); one that is returned alone is `output`.
std::vector<std::pair<std::string, torch::jit::Value*>> returned_values(torch::jit::Value* returned);
std::vector<std::pair<std::string, at::Tensor>> returned_tensors(const c10::IValue& returned);

// The output that is explained: the one asked for; else a dict's `logits`; else the first [N, classes] from which no other
// such output is computed, as scores are from an embedding; else the first [N]; else the first that has the images as its
// first axis. Throws EngineError INVALID_OPTION, UNSUPPORTED_MODEL, and INVALID_INPUT where images of this size give more rows of
// scores than there are images.
size_t choose_output(const std::vector<std::pair<std::string, torch::jit::Value*>>& outputs, const OutputChoice& choice,
                     const std::string& size);

struct Answer {
  // What class-specific methods explain: [N, classes], before softmax or sigmoid. A yes-or-no logit x becomes two classes,
  // -x for no and x for yes, so that either can be explained.
  torch::jit::Value* logits = nullptr;
  // What they are made from: the same, or the one logit.
  torch::jit::Value* source = nullptr;
  // `classes`: one of them is right, softmax. `labels`: each may be right, sigmoid. `yes-or-no`: sigmoid of one logit. `value`: a
  // number that is no probability. Empty where the output is no scores, such as a mask.
  std::string scores;
  // At the graph's end: `softmax`, `log_softmax`, `sigmoid`, or empty.
  std::string activation;
};

// Inserts what `logits` needs at the end of the graph, whose only output is the chosen one.
Answer read_answer(torch::jit::Graph& graph, const OutputChoice& choice);

}  // namespace sightline
