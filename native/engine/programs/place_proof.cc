#include "engine/programs/place_proof.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/jit/passes/shape_analysis.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iterator>

#include "engine/programs/cut.h"
#include "engine/programs/program.h"

namespace sightline {

namespace {

// Of the token that moves most. Convolutions that overlap move their neighbors too, rounding moves any.
constexpr double kAtAll = 1e-3, kMuch = 0.5;

// Whether noise in the patch of `row` and `column` moved that patch's token, and others beside it at most.
bool moved_as_claimed(const at::Tensor& moved, const TokenInfo& tokens, int64_t row, int64_t column) {
  const double most = moved.max().item<double>();
  // Weights that are zero or no numbers move nothing: there is nothing to learn from them.
  if (!(most > 0)) return true;
  const auto* by = moved.const_data_ptr<double>();
  const auto count = std::count_if(by, by + moved.numel(), [&](double each) { return each > kAtAll * most; });
  const int64_t reach = count == 1 ? 0 : 1;
  for (int64_t i = 0; i < moved.numel(); ++i) {
    if (by[i] <= kMuch * most) continue;
    const int64_t patch = i - tokens.prefix;
    if (patch < 0 || patch >= tokens.height * tokens.width) return false;
    if (std::abs(patch / tokens.width - row) > reach || std::abs(patch % tokens.width - column) > reach) return false;
  }
  return true;
}

// Whether noise in patches of the image moves the tokens that are said to lie there. `moved`: how much each token differs
// between two values of the graph's output `output`.
bool lie_as_claimed(const c10::IValue& self, const LoneRun& lone, const Tappable& tappable, size_t output,
                    const TokenInfo& tokens,
                    const std::function<at::Tensor(const at::Tensor& a, const at::Tensor& b)>& moved) {
  at::NoGradGuard no_gradients;
  auto graph = tappable.master->copy();
  set_outputs(*graph, {graph->outputs()[output]});
  torch::jit::EraseShapeInformation(graph);
  const Program until_tokens(std::move(graph), false, 0, false);
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(2);
  const auto& image = lone.image;
  const auto known = lone.values.find(output);
  const auto before =
      (known == lone.values.end() ? until_tokens.run(self, image).at(0) : known->second).to(at::kDouble);
  // Two patches, apart in rows and in columns: a grid that is turned fits one of them at most.
  const int64_t places[2][2] = {{tokens.height / 3, tokens.width - 1 - tokens.width / 4},
                                {tokens.height - 1 - tokens.height / 4, tokens.width / 5}};
  return std::all_of(std::begin(places), std::end(places), [&](const auto& place) {
    const auto [row, column] = place;
    auto noisy = image.clone();
    const auto from = [](int64_t at, int64_t count, int64_t size) { return at * size / count; };
    const int64_t top = from(row, tokens.height, image.size(2)), bottom = from(row + 1, tokens.height, image.size(2));
    const int64_t left = from(column, tokens.width, image.size(3)),
                  right = from(column + 1, tokens.width, image.size(3));
    auto patch = noisy.narrow(2, top, bottom - top).narrow(3, left, right - left);
    patch.copy_(at::randn(patch.sizes(), generator, at::kFloat) * 2);
    const auto after = until_tokens.run(self, noisy).at(0).to(at::kDouble);
    return moved_as_claimed(moved(after, before).cpu().contiguous(), tokens, row, column);
  });
}

using Sites = std::vector<AttentionSite>;

// With the first tokens of all, of whatever grid: behind attention, noise moves tokens anywhere.
Sites::const_iterator first_on_grid(const Tappable& tappable) {
  return std::find_if(tappable.sites.begin(), tappable.sites.end(),
                      [](const AttentionSite& site) { return site.grid.has_value(); });
}

size_t queries_of(const Tappable& tappable, Sites::const_iterator site) {
  return tappable.site_outputs[static_cast<size_t>(site - tappable.sites.begin())][0];
}

bool is_reordered(const NodeInfo& node) { return node.grid && !node.grid->order.empty(); }

std::vector<NodeInfo>::const_iterator first_reordered(const NetworkInfo& info) {
  return std::find_if(info.nodes.begin(), info.nodes.end(), is_reordered);
}

void forget_grid(NodeInfo& node, NetworkInfo& info) {
  node.layout = Layout::Other;
  node.grid.reset();
  if (node.name == info.target_layer) info.target_layer.clear();
}

void forget_tokens(NetworkInfo& info) {
  info.tokens.reset();
  for (auto& node : info.nodes) {
    if (node.layout == Layout::Tokens) forget_grid(node, info);
  }
  if (info.head && info.head->layout == Layout::Tokens) info.head.reset();
}

}  // namespace

std::optional<size_t> value_for_places(const Tappable& tappable, const NetworkInfo& info) {
  const auto first = first_on_grid(tappable);
  if (!info.tokens || first == tappable.sites.end()) return std::nullopt;
  return queries_of(tappable, first);
}

std::optional<size_t> value_for_orders(const Tappable& tappable, const NetworkInfo& info) {
  const auto first = first_reordered(info);
  if (first == info.nodes.end()) return std::nullopt;
  return tappable.node_outputs.at(first->name);
}

void prove_places(const c10::IValue& self, const LoneRun& lone, const Tappable& tappable, NetworkInfo& info) {
  if (!info.tokens) return;
  const auto first = first_on_grid(tappable);
  if (first == tappable.sites.end()) {
    forget_tokens(info);
    return;
  }
  const TokenInfo tokens{first->grid->height, first->grid->width, first->grid->prefix, first->grid->suffix,
                         std::nullopt};
  const auto queries = queries_of(tappable, first);
  const auto moved = [](const at::Tensor& a, const at::Tensor& b) {
    const auto rows = (a - b).abs().movedim(-2, -1);
    return rows.reshape({-1, rows.size(-1)}).sum(0);
  };
  if (!lie_as_claimed(self, lone, tappable, queries, tokens, moved)) forget_tokens(info);
}

void prove_orders(const c10::IValue& self, const LoneRun& lone, const Tappable& tappable, NetworkInfo& info) {
  const auto first = first_reordered(info);
  if (first == info.nodes.end()) return;
  const auto& grid = *first->grid;
  const auto order = at::tensor(grid.order, at::kLong);
  const auto moved = [&](const at::Tensor& a, const at::Tensor& b) {
    return (a - b).abs().reshape({-1, a.size(-1)}).sum(-1).cpu().index_select(0, order);
  };
  const TokenInfo tokens{grid.height, grid.width, 0, grid.suffix, std::nullopt};
  if (lie_as_claimed(self, lone, tappable, tappable.node_outputs.at(first->name), tokens, moved)) return;
  for (auto& node : info.nodes) {
    if (is_reordered(node)) forget_grid(node, info);
  }
}

}  // namespace sightline
