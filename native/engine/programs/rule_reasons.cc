#include "engine/programs/rule_reasons.h"

#include "engine/errors.h"

namespace sightline {

std::map<std::string, std::string> broken_rules(const Tappable& tappable) {
  std::map<std::string, std::string> reasons;
  for (const auto& name : rule_names()) {
    ProgramRequest request;
    request.rule.name = name;
    // The one rule by which attention is read as well, which opens it.
    for (size_t i = 0; name == "lrp" && i < tappable.sites.size(); ++i) {
      if (tappable.sites[i].unsupported.empty())
        request.taps.push_back({{Tap::Kind::Attention, "", static_cast<int64_t>(i)}, true});
    }
    const auto copy = tappable.master->copy();
    try {
      find_taps(*copy, tappable, request);
    } catch (const EngineError& error) {
      if (error.code() != "METHOD_NOT_APPLICABLE") throw;
      reasons.emplace(name, error.message());
    }
  }
  return reasons;
}

}  // namespace sightline
