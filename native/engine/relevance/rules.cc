#include "engine/relevance/rules.h"

#include <map>

#include "engine/errors.h"
#include "engine/relevance/passes.h"

namespace sightline {

namespace {

const std::map<std::string, void (*)(Rewrite&, const Rule&)>& passes() {
  static const std::map<std::string, void (*)(Rewrite&, const Rule&)> all = {
      {"guided-backprop", rewrite_guided_backprop},
      {"deconvnet", rewrite_deconvnet},
      {"attn-lrp", rewrite_gradient_times_input},
      {"cp-lrp", rewrite_gradient_times_input},
      {"lrp", rewrite_relevance},
      {"deeplift", rewrite_rescale},
  };
  return all;
}

}  // namespace

std::vector<std::string> rule_names() {
  std::vector<std::string> names;
  for (const auto& [name, unused] : passes()) names.push_back(name);
  return names;
}

bool compares_images(const Rule& rule) { return rule.name == "deeplift"; }

Replacements apply_rule(torch::jit::Graph& graph, const Rule& rule) {
  if (rule.name.empty()) return {};
  const auto pass = passes().find(rule.name);
  if (pass == passes().end()) {
    std::string names;
    for (const auto& name : rule_names()) names += (names.empty() ? "" : ", ") + name;
    throw EngineError("INVALID_OPTION", "There is no rule '" + rule.name + "'; it is one of " + names + ".");
  }
  Rewrite rewrite(graph);
  pass->second(rewrite, rule);
  return rewrite.take_replacements();
}

}  // namespace sightline
