// What a program is asked for.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/relevance/rules.h"

namespace sightline {

// One thing to read out of a run.
struct Tap {
  enum class Kind { Logits, Output, Image, Node, Patches, Attention, Query, Key, Value, Residual, ResidualMid };
  Kind kind;
  std::string node;   // Kind::Node, and Kind::Patches: the same with its patches in rows, [N, tokens, channels]
  int64_t site = -1;  // all after them
  auto operator<=>(const Tap&) const = default;
};

struct TapRequest {
  Tap tap;
  bool with_gradient = false;
  auto operator<=>(const TapRequest&) const = default;
};

// What a program is made for.
struct ProgramRequest {
  std::vector<TapRequest> taps;
  Rule rule;
  // Values that are given rather than computed. Where there are any, the program goes in two parts: what does not depend
  // on them, computed once for the images, and what does.
  std::vector<Tap> replaces;
  // Whether its gradients are differentiated: fused attention, whose derivative has none, is opened everywhere.
  bool is_smooth = false;
  // Whether gradients are taken with respect to what its inputs were computed from.
  bool keeps_graph = false;
  auto operator<=>(const ProgramRequest&) const = default;
};

}  // namespace sightline
