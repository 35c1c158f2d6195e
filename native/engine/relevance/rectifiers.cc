// Guided backpropagation and the deconvolutional network: what passes a rectifier backwards is cut to its positive part.
#include "engine/errors.h"
#include "engine/relevance/passes.h"

namespace sightline {

using torch::jit::Node;

namespace {

std::vector<Node*> rectifiers(const Rewrite& rewrite, const Rule& rule) {
  std::vector<Node*> found;
  for (Node* node : rewrite.nodes()) {
    if (is_rectifier(node) && rewrite.is_active(node->input(0))) found.push_back(node);
  }
  if (found.empty()) {
    throw EngineError("METHOD_NOT_APPLICABLE",
                      "The rule '" + rule.name +
                          "' changes nothing here: the model has no rectifier (relu, gelu, silu and their "
                          "like).");
  }
  return found;
}

}  // namespace

void rewrite_guided_backprop(Rewrite& rewrite, const Rule& rule) {
  // Behind the ordinary derivative, so before the operator; other readers of the same input keep theirs.
  for (Node* node : rectifiers(rewrite, rule)) {
    node->replaceInput(0, rewrite.before(node, "sightline::cut_gradient", {node->input(0)}));
  }
}

void rewrite_deconvnet(Rewrite& rewrite, const Rule& rule) {
  for (Node* node : rectifiers(rewrite, rule)) {
    auto* cut = rewrite.before(node, "sightline::cut_gradient", {node->input(0)});
    node->replaceInput(0, rewrite.before(node, "aten::detach", {cut}));
    rewrite.replace(node->output(), rewrite.behind(node, "sightline::pass_gradient", {cut, node->output()}));
  }
}

}  // namespace sightline
