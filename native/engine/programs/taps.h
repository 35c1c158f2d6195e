// Everything that can be read out of a run, and where a copy of the graph has it.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/graph/attention_forms.h"
#include "engine/graph/facts.h"
#include "engine/graph/straighten.h"
#include "engine/programs/request.h"

namespace sightline {

// All that can be tapped is an output of `master`, so that a copy of it finds each value again by its position.
struct Tappable {
  std::shared_ptr<torch::jit::Graph> master;
  std::vector<AttentionSite> sites;
  std::map<std::string, size_t> node_outputs;
  std::map<std::string, std::vector<int64_t>> orders;  // of nodes whose patches are in another order than that of rows
  std::set<std::string> without_batch;                 // nodes whose first axis is not the batch
  std::vector<std::array<size_t, 4>> site_outputs;     // query, key, value, result
  std::vector<std::array<size_t, 2>> stream_outputs;   // residual, residual_mid; 0 where the graph does not tell
  std::vector<std::optional<at::ScalarType>> mask_dtypes;
  std::optional<at::ScalarType> dtype;
};

// Where the logits are.
inline constexpr size_t kLogitsOutput = 0;

// Makes every node and site an output of the straight graph, after its only one. Fills in what `info` tells of the sites'
// surroundings.
Tappable register_taps(const StraightGraph& straight, std::vector<AttentionSite> sites, at::ScalarType dtype,
                       NetworkInfo& info);

// In a copy of the master, whose fused attention is opened where the request needs it and whose gradients follow the
// request's rule: the tapped values, then the replaced ones, each in the shape in which it is shown. Throws EngineError
// UNKNOWN_NODE or METHOD_NOT_APPLICABLE.
std::vector<torch::jit::Value*> find_taps(torch::jit::Graph& graph, const Tappable& tappable,
                                          const ProgramRequest& request);

}  // namespace sightline
