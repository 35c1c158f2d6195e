#include "engine/programs/network.h"

#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/shape_analysis.h>

#include <algorithm>

#include "engine/graph/flops.h"
#include "engine/graph/inspection.h"
#include "engine/graph/places.h"
#include "engine/guard/trace_limit.h"
#include "engine/programs/activation_bytes.h"
#include "engine/programs/batch_norm_gradients.h"
#include "engine/programs/cut.h"
#include "engine/programs/leaves.h"
#include "engine/programs/place_proof.h"
#include "engine/programs/precision.h"
#include "engine/programs/proof.h"
#include "engine/programs/read_token.h"
#include "engine/programs/rule_reasons.h"
#include "engine/programs/second_derivatives.h"
#include "engine/programs/tuning/tuning.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Value;

namespace {

// The sizes recorded for one image are not those of a batch.
void finish(std::shared_ptr<Graph> graph) {
  torch::jit::EraseShapeInformation(graph);
  torch::jit::ConstantPropagation(graph);
  torch::jit::EliminateDeadCode(graph);
  graph->lint();
}

}  // namespace

Network::Network(const torch::jit::Module& module, const at::Tensor& example, std::shared_ptr<PreparedWeights> weights,
                 const OutputChoice& choice)
    : device_(example.device()), weights_(std::move(weights)) {
  StraightGraph straight = straighten(
      module, example, choice, {[](Graph& graph) { insert_turns(graph); }, [](Graph& graph) { remove_turns(graph); }});
  int64_t unknown_attention = 0;
  const Places places(*straight.graph, straight.image, example.size(2), example.size(3));
  auto sites = find_attention(straight, places, unknown_attention);
  info_ = inspect_graph(straight, places, sites, example.size(2), example.size(3));
  info_.unknown_attention = unknown_attention;
  info_.is_channels_last = choice.is_channels_last;
  info_.parameters = count_parameters(module, *straight.original, straight.is_quantized);

  tappable_ = register_taps(straight, std::move(sites), example.scalar_type(), info_);
  // What the experiments begin from is kept of the proof's own run.
  const auto tail = cut_tail(tappable_, info_);
  auto kept = tail ? tail->outputs() : std::vector<size_t>{};
  for (const auto output : {value_for_places(tappable_, info_), value_for_orders(tappable_, info_)})
    if (output) kept.push_back(*output);
  tappable_.master->registerOutput(straight.returned);  // for the proof, which looks for it at the end
  const auto lone = prove(straight, module, example, tappable_, info_, kept, choice.is_for_one_image);
  prove_places(module._ivalue(), lone, tappable_, info_);
  prove_orders(module._ivalue(), lone, tappable_, info_);
  if (tail) prove_read_token(module._ivalue(), lone, tappable_, *tail, info_);
  if (!info_.is_quantized) info_.rule_reasons = broken_rules(tappable_);
}

const Program& Network::program(const ProgramRequest& request) {
  // A server whose users choose the taps must not collect programs for ever.
  constexpr size_t kKeptPrograms = 64;
  auto found = programs_.find(request);
  if (found == programs_.end()) {
    auto program = build(request);
    if (programs_.size() >= kKeptPrograms) {
      programs_.erase(std::min_element(programs_.begin(), programs_.end(),
                                       [](const auto& a, const auto& b) { return a.second.used < b.second.used; }));
      if (weights_) weights_->drop_unused();
      ++generation_;
    }
    found = programs_.emplace(request, KeptProgram{std::move(program), 0}).first;
  }
  found->second.used = ++uses_;
  return *found->second.program;
}

// `seeds`: the values from which on gradients are recorded.
void Network::tune(Graph& graph, const std::vector<Value*>& seeds, at::ScalarType dtype,
                   const ProgramRequest& request) const {
  if (!weights_ || info_.is_quantized) return;
  const auto recorded = [&] { return values_after(graph, {seeds.begin(), seeds.end()}); };
  if (!request.rule.name.empty()) {
    if (device_.is_cpu()) multiply_by_onednn(graph, recorded(), dtype, *weights_);
    return;
  }
  fold_batch_norms(graph, *weights_);
  straighten_linear_inputs(graph);
  if (!free_of_strides(graph)) return;
  // On a GPU the tensor cores want it, which compute in reduced precision.
  if (device_.is_cpu() || at::isReducedFloatingType(dtype)) lay_channels_last(graph, *weights_);
  if (!device_.is_cpu()) return;
  pack_operators(graph, recorded(), dtype, *weights_);
  multiply_by_onednn(graph, recorded(), dtype, *weights_);
}

std::unique_ptr<Program> Network::build(const ProgramRequest& request) const {
  auto graph = tappable_.master->copy();
  const auto& requests = request.taps;
  auto taps = find_taps(*graph, tappable_, request);
  std::vector<Value*> replaced(taps.begin() + static_cast<std::ptrdiff_t>(requests.size()), taps.end());
  taps.resize(requests.size());

  for (Value* value : replaced) {
    Value* given = graph->addInput()->setType(c10::TensorType::get());
    value->replaceAllUsesWith(given);
    std::replace(taps.begin(), taps.end(), value, given);
    std::replace(replaced.begin(), replaced.end(), value, given);
  }

  const bool records_gradients =
      std::any_of(requests.begin(), requests.end(), [](const auto& each) { return each.with_gradient; });
  std::vector<Value*> seeds = place_leaves(*graph, requests, taps);

  set_outputs(*graph, taps);
  // A rule is written for the operators as they were exported.
  if (weights_ && request.rule.name.empty()) {
    straighten_layouts(*graph);
    narrow_tokens(*graph);
  }
  std::shared_ptr<Graph> before;
  if (!replaced.empty()) before = cut(graph, taps, seeds);
  int64_t bytes = bytes_of_run(*graph, records_gradients);
  for (const auto& [tap, with_gradient] : requests) {
    // Attention that was opened here has no recorded size: scores, probabilities and their gradient.
    if (tap.kind != Tap::Kind::Attention || tappable_.sites[tap.site].form == AttentionSite::Form::Softmax) continue;
    const AttentionSite& site = tappable_.sites[tap.site];
    bytes += (with_gradient ? 3 : 1) * 4 * site.windows * site.heads * site.tokens * site.keys;
  }
  // What a replaced value changes, and what is divided by values or by their differences, drown in the rounding of bf16.
  const bool in_float32 = at::isReducedFloatingType(*tappable_.dtype) &&
                          (before || request.rule.name == "lrp" || compares_images(request.rule));
  if (in_float32) compute_in_float32(*graph, weights_.get());
  const auto inputs = graph->inputs().slice(1);
  if (request.keeps_graph) seeds.insert(seeds.end(), inputs.begin(), inputs.end());
  tune(*graph, seeds, in_float32 ? at::kFloat : *tappable_.dtype, request);
  if (before) tune(*before, {}, *tappable_.dtype, request);
  if (records_gradients || request.keeps_graph) {
    settle_batch_norm_gradients(*graph);
    make_twice_differentiable(*graph);
  }
  finish(graph);
  if (!before) return std::make_unique<Program>(std::move(graph), records_gradients, bytes, in_float32);
  finish(before);
  return std::make_unique<Program>(std::move(before), std::move(graph), records_gradients, bytes);
}

}  // namespace sightline
