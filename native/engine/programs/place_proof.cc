#include "engine/programs/place_proof.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/jit/passes/shape_analysis.h>

#include <algorithm>
#include <cstdlib>

#include "engine/programs/cut.h"
#include "engine/programs/program.h"

namespace sightline {

namespace {

// Of the token that moves most. Convolutions that overlap move their neighbors too, rounding moves any.
constexpr double kAtAll = 1e-3, kMuch = 0.5;

// How much each of the first tokens differs from one image to another.
at::Tensor difference(const at::Tensor& a, const at::Tensor& b) {
  const auto rows = (a.to(at::kDouble) - b.to(at::kDouble)).abs().movedim(-2, -1);
  return rows.reshape({-1, rows.size(-1)}).sum(0).cpu();
}

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

void forget_tokens(NetworkInfo& info) {
  info.tokens.reset();
  for (auto& node : info.nodes) {
    if (node.layout != Layout::Tokens) continue;
    node.layout = Layout::Other;
    node.grid.reset();
    if (node.name == info.target_layer) info.target_layer.clear();
  }
  if (info.head && info.head->layout == Layout::Tokens) info.head.reset();
}

}  // namespace

void prove_places(const c10::IValue& self, const at::Tensor& example, const Tappable& tappable, NetworkInfo& info) {
  if (!info.tokens) return;
  const auto& tokens = *info.tokens;
  const auto first = std::find_if(tappable.sites.begin(), tappable.sites.end(), [](const AttentionSite& site) { return site.tokens == site.keys; });
  if (first == tappable.sites.end()) {
    // No attention between the tokens themselves: nothing at hand could prove where they lie.
    forget_tokens(info);
    return;
  }
  at::NoGradGuard no_gradients;
  auto graph = tappable.master->copy();
  set_outputs(*graph, {graph->outputs()[tappable.site_outputs[static_cast<size_t>(first - tappable.sites.begin())][0]]});
  torch::jit::EraseShapeInformation(graph);
  const Program until_first_tokens(std::move(graph), false, 0, false);
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(2);
  const auto image = at::randn(example.sizes(), generator, at::kFloat);
  const auto tokens_of = [&](const at::Tensor& of) { return until_first_tokens.run(self, of.to(example.options())).at(0); };
  const auto before = tokens_of(image);
  // Two patches, apart in rows and in columns: a grid that is turned fits one of them at most.
  const int64_t places[2][2] = {{tokens.height / 3, tokens.width - 1 - tokens.width / 4}, {tokens.height - 1 - tokens.height / 4, tokens.width / 5}};
  for (const auto& [row, column] : places) {
    auto noisy = image.clone();
    const auto from = [](int64_t place, int64_t count, int64_t size) { return place * size / count; };
    const int64_t top = from(row, tokens.height, image.size(2)), bottom = from(row + 1, tokens.height, image.size(2));
    const int64_t left = from(column, tokens.width, image.size(3)), right = from(column + 1, tokens.width, image.size(3));
    auto patch = noisy.narrow(2, top, bottom - top).narrow(3, left, right - left);
    patch.copy_(at::randn(patch.sizes(), generator, at::kFloat) * 2);
    if (moved_as_claimed(difference(tokens_of(noisy), before), tokens, row, column)) continue;
    forget_tokens(info);
    return;
  }
}

}  // namespace sightline
