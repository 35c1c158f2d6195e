#include "engine/relevance/rules.h"

#include <map>

#include "engine/errors.h"
#include "engine/relevance/passes.h"

namespace sightline {

Replacements apply_rule(torch::jit::Graph& graph, const Rule& rule) {
  static const std::map<std::string, void (*)(Rewrite&, const Rule&)> passes = {
      {"guided-backprop", rewrite_guided_backprop},
      {"deconvnet", rewrite_deconvnet},
      {"attn-lrp", rewrite_gradient_times_input},
      {"cp-lrp", rewrite_gradient_times_input},
      {"lrp", rewrite_relevance},
  };
  if (rule.name.empty()) return {};
  const auto pass = passes.find(rule.name);
  if (pass == passes.end()) {
    std::string names;
    for (const auto& [name, unused] : passes) names += (names.empty() ? "" : ", ") + name;
    throw EngineError("INVALID_OPTION", "There is no rule '" + rule.name + "'; it is one of " + names + ".");
  }
  Rewrite rewrite(graph);
  pass->second(rewrite, rule);
  return rewrite.take_replacements();
}

}  // namespace sightline
