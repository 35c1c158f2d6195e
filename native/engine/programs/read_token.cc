#include "engine/programs/read_token.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/shape_analysis.h>

#include <cmath>
#include <limits>
#include <memory>

#include "engine/graph/graph_ops.h"
#include "engine/programs/cut.h"
#include "engine/programs/program.h"

namespace sightline {

using torch::jit::Value;

namespace {

// Of what noise in all tokens does: less is rounding.
constexpr double kMovesAtAll = 1e-3;

// The part of a run after the last attention between tokens, with noise in rows of it.
class Tail {
 public:
  Tail(const c10::IValue& self, const LoneRun& lone, const Tappable& tappable, const TailCut& cut)
      : self_(self), image_(lone.image), attended_(lone.values.at(cut.attended)) {
    auto graph = tappable.master->copy();
    std::vector<Value*> given{graph->outputs()[cut.attended]};
    for (const size_t output : cut.beside) {
      given.push_back(graph->outputs()[output]);
      beside_.push_back(lone.values.at(output));
    }
    for (Value* value : given) value->replaceAllUsesWith(graph->addInput()->setType(c10::TensorType::get()));
    set_outputs(*graph, {graph->outputs()[kLogitsOutput]});
    // What fills a tensor in place is kept unless it is known that nobody reads the tensor.
    if (graph->inputs()[1]->hasUses()) torch::jit::EliminateDeadCode(graph);
    torch::jit::EraseShapeInformation(graph);
    after_ = std::make_unique<GraphCode>(std::move(graph));
    const auto generator = at::make_generator<at::CPUGeneratorImpl>(3);
    noise_ = at::randn(attended_.sizes(), generator, at::kFloat).to(attended_.options());
    scores_ = lone.values.at(kLogitsOutput).to(at::kDouble);
    all_ = distance(run(noise_));
  }

  // Whether noise does anything: not with weights that are zero or no numbers.
  bool tells() const { return std::isfinite(all_) && all_ > 0; }

  // Whether noise in these tokens moves the scores.
  bool moves(int64_t first, int64_t count) const {
    if (count == 0) return false;
    auto some = at::zeros(noise_.sizes(), noise_.options());
    some.narrow(-2, first, count).copy_(noise_.narrow(-2, first, count));
    return distance(run(some)) > kMovesAtAll * all_;
  }

 private:
  at::Tensor run(const at::Tensor& noise) const {
    std::vector<c10::IValue> inputs{self_, image_, attended_ + noise};
    inputs.insert(inputs.end(), beside_.begin(), beside_.end());
    return after_->run(std::move(inputs), false).at(0).to(at::kDouble);
  }

  double distance(const at::Tensor& scores) const { return (scores - scores_).abs().max().item<double>(); }

  c10::IValue self_;
  at::Tensor image_, attended_, noise_, scores_;
  std::vector<at::Tensor> beside_;
  std::unique_ptr<GraphCode> after_;
  double all_ = std::numeric_limits<double>::quiet_NaN();
};

// Of a head that was not understood: the only token without a place that it reads, as long as it reads no patch.
void find_read_token(const Tail& tail, TokenInfo& tokens) {
  const int64_t patches = tokens.height * tokens.width, behind = tokens.prefix + patches;
  tokens.class_token.reset();
  std::vector<int64_t> read;
  for (int64_t i = 0; i < behind + tokens.suffix; ++i) {
    if (i == tokens.prefix) i = behind;
    if (i < behind + tokens.suffix && tail.moves(i, 1)) read.push_back(i);
  }
  const bool reads_patches = tail.moves(tokens.prefix, patches);
  if (!reads_patches && read.size() == 1) tokens.class_token = read[0];
  // DeiT's two heads read a token each, the class token first.
  if (!reads_patches && read == std::vector<int64_t>{0, 1} && tokens.prefix == 2) tokens.class_token = 0;
  tokens.is_read_known = tokens.class_token || (reads_patches && read.empty());
}

}  // namespace

std::vector<size_t> TailCut::outputs() const {
  std::vector<size_t> all(beside);
  all.push_back(attended);
  return all;
}

std::optional<TailCut> cut_tail(Tappable& tappable, const NetworkInfo& info) {
  if (!info.tokens || info.tokens->prefix + info.tokens->suffix == 0) return std::nullopt;
  std::optional<size_t> last;
  for (size_t i = 0; i < tappable.sites.size(); ++i) {
    if (tappable.sites[i].tokens == tappable.sites[i].keys) last = i;
  }
  if (!last) return std::nullopt;
  TailCut found{*last, tappable.site_outputs[*last][3], {}};
  auto& graph = *tappable.master;
  auto after = values_after(graph, {graph.outputs()[found.attended]});
  for (Value* value : values_crossing(graph, after, {graph.outputs()[kLogitsOutput]})) {
    found.beside.push_back(graph.outputs().size());
    graph.registerOutput(value);
  }
  return found;
}

void prove_read_token(const c10::IValue& self, const LoneRun& lone, const Tappable& tappable, const TailCut& cut,
                      NetworkInfo& info) {
  // The proof of places may have forgotten them since.
  if (!info.tokens) return;
  auto& tokens = *info.tokens;
  at::NoGradGuard no_gradients;
  const Tail tail(self, lone, tappable, cut);
  if (!tail.tells()) {
    if (!tokens.is_read_known) tokens.class_token.reset();
    return;
  }
  if (!tokens.is_read_known) {
    find_read_token(tail, tokens);
    return;
  }
  tokens.is_read_known =
      tokens.class_token ? tail.moves(*tokens.class_token, 1) : tail.moves(tokens.prefix, tokens.height * tokens.width);
  if (!tokens.is_read_known) tokens.class_token.reset();
}

}  // namespace sightline
