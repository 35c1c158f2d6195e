// A run in two parts: what does not depend on replaced values, computed once for the images, and what does.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <memory>
#include <unordered_set>
#include <vector>

namespace sightline {

// `sources` and all that is computed from them.
std::unordered_set<const torch::jit::Value*> values_after(torch::jit::Graph& graph,
                                                          std::unordered_set<const torch::jit::Value*> sources);

// Gives the graph these outputs and no others, and takes out what they do not need.
void set_outputs(torch::jit::Graph& graph, const std::vector<torch::jit::Value*>& values);

// What crosses a cut before `after`, to which it adds what is computed again there: tensors that depend on the image, so that
// the batch is their first axis. Sizes and whatever else does not may differ where there are more rows.
std::vector<torch::jit::Value*> values_crossing(torch::jit::Graph& graph,
                                                std::unordered_set<const torch::jit::Value*>& after,
                                                const std::vector<torch::jit::Value*>& taps);

// Cuts a graph, whose inputs from the third on are given values, in two: takes out what does not depend on them and gives
// it back as a graph of its own (inputs: module, image), whose outputs become further inputs. `seeds` belong after the
// cut in any case; `taps` that were cut off are moved to those inputs.
std::shared_ptr<torch::jit::Graph> cut(const std::shared_ptr<torch::jit::Graph>& graph,
                                       std::vector<torch::jit::Value*>& taps,
                                       const std::vector<torch::jit::Value*>& seeds);

}  // namespace sightline
