#include "engine/algorithms/layered_flow.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/errors.h"

namespace sightline {

namespace {

constexpr int kBits = 44;  // of the largest capacity: sums over all tokens of a level stay far from overflowing

void set_member(uint64_t* set, int64_t token, bool is_member) {
  const auto bit = uint64_t{1} << (token & 63);
  set[token >> 6] = is_member ? set[token >> 6] | bit : set[token >> 6] & ~bit;
}

}  // namespace

LayeredCapacities::LayeredCapacities(const std::vector<const float*>& blocks, int64_t tokens)
    : tokens_(tokens), blocks_(static_cast<int64_t>(blocks.size())), values_(blocks.size() * tokens * tokens) {
  const auto size = tokens * tokens;
  float largest = 0;
  for (const float* block : blocks) {
    for (int64_t i = 0; i < size; ++i) {
      if (!std::isfinite(block[i])) throw EngineError("INTERNAL", "the attention holds values that are not finite");
      largest = std::max(largest, block[i]);
    }
  }
  // By a power of two, so that nothing is rounded but capacities below 2^-20 of the largest.
  int exponent = 0;
  std::frexp(largest, &exponent);
  unit_ = std::ldexp(1.0, exponent - kBits);
  auto* value = values_.data();
  for (const float* block : blocks) {
    for (int64_t i = 0; i < size; ++i) *value++ = block[i] > 0 ? std::llround(std::ldexp(block[i], kBits - exponent)) : 0;
  }
}

LayeredFlow::LayeredFlow(const LayeredCapacities& capacities, int64_t source)
    : capacities_(capacities),
      source_(source),
      tokens_(capacities.tokens()),
      blocks_(capacities.blocks()),
      words_((tokens_ + 63) / 64),
      flow_(std::max<int64_t>(blocks_ - 1, 0) * tokens_ * tokens_),
      excess_(blocks_ * tokens_),
      deficit_(tokens_),
      taken_(tokens_),
      room_below_(blocks_, tokens_),
      room_above_(blocks_, tokens_),
      flow_below_(blocks_, tokens_),
      flow_above_(blocks_, tokens_),
      seen_(blocks_ * words_) {
  for (int64_t block = 1; block < blocks_ - 1; ++block) {
    for (int64_t upper = 0; upper < tokens_; ++upper) {
      for (int64_t lower = 0; lower < tokens_; ++lower) set_flow(block, upper, lower, 0);
    }
  }
  for (int64_t token = 0; token < tokens_; ++token) excess(blocks_ - 1, token) = capacities_.at(blocks_ - 1, source_, token);
}

double LayeredFlow::to(int64_t sink) {
  if (blocks_ == 1) return static_cast<double>(capacities_.at(0, source_, sink)) * capacities_.unit();
  int64_t total = 0;
  for (int64_t token = 0; token < tokens_; ++token) {
    const auto available = excess(1, token) + taken_[token];
    const auto capacity = capacities_.at(0, token, sink);
    taken_[token] = std::min(available, capacity);
    excess(1, token) = available - taken_[token];
    deficit_[token] = capacity - taken_[token];
    total += capacity;
  }
  while (measure_distances()) sweep();
  for (int64_t token = 0; token < tokens_; ++token) {
    taken_[token] = capacities_.at(0, token, sink) - deficit_[token];
    total -= deficit_[token];
  }
  return static_cast<double>(total) * capacities_.unit();
}

template <typename Visitor>
void LayeredFlow::for_each(const Word* set, const Visitor& visit) const {
  for (int64_t w = 0; w < words_; ++w) {
    for (Word rest = set[w]; rest != 0; rest &= rest - 1) visit(w * 64 + std::countr_zero(rest));
  }
}

// Sorts tokens into layers by how many edges with room lie between them and the nearest deficit, up to the farthest
// excess. False when no excess can get to a deficit: no more can flow then, since what separates the two is full.
bool LayeredFlow::measure_distances() {
  const int64_t stride = blocks_ * words_;
  layers_.assign(stride, 0);
  std::fill(seen_.begin(), seen_.end(), 0);
  for (int64_t token = 0; token < tokens_; ++token) {
    if (deficit_[token] > 0) set_member(layer(0, 1), token, true);
  }
  auto unseen = std::count_if(excess_.begin(), excess_.end(), [](int64_t amount) { return amount > 0; });
  farthest_ = 0;
  for (int64_t distance = 0; unseen > 0; ++distance) {
    layers_.resize((distance + 2) * stride, 0);
    bool is_empty = true;
    for (int64_t level = 1; level < blocks_; ++level) {
      for_each(layer(distance, level), [&](int64_t token) {
        is_empty = false;
        if (excess(level, token) > 0) {
          farthest_ = distance;
          --unseen;
        }
        const auto join = [&](int64_t to_level, const Word* tokens) {
          for (int64_t w = 0; w < words_; ++w) layer(distance + 1, to_level)[w] |= tokens[w];
        };
        if (level + 1 < blocks_) join(level + 1, room_above_.of(level, token));
        if (level > 1) join(level - 1, flow_below_.of(level, token));
      });
    }
    if (is_empty) break;
    for (int64_t i = 0; i < stride; ++i) {
      seen_[i] |= layers_[distance * stride + i];
      layers_[(distance + 1) * stride + i] &= ~seen_[i];
    }
  }
  return farthest_ > 0;
}

// All that reaches a token from farther away has arrived before the token is pushed from. What is left on it afterwards
// has no room on any shortest way: its distance grows, so that sweeps come to an end.
void LayeredFlow::sweep() {
  for (int64_t distance = farthest_; distance > 0; --distance) {
    for (int64_t level = 1; level < blocks_; ++level) {
      for_each(layer(distance, level), [&](int64_t token) {
        if (excess(level, token) > 0) push_from(distance, level, token);
      });
    }
  }
}

void LayeredFlow::push_from(int64_t distance, int64_t level, int64_t token) {
  int64_t rest = excess(level, token);
  // Of the sets, a copy of each word: pushing changes them.
  const auto push = [&](int64_t to_level, const Word* tokens, const auto& move) {
    Word* nearer = layer(distance - 1, to_level);
    for (int64_t w = 0; w < words_ && rest > 0; ++w) {
      for (Word open = tokens[w] & nearer[w]; open != 0 && rest > 0; open &= open - 1) {
        const auto next = w * 64 + std::countr_zero(open);
        auto limit = rest;
        if (distance == 1) limit = std::min(limit, deficit_[next]);
        const auto amount = move(next, limit);
        rest -= amount;
        if (distance > 1) {
          excess(to_level, next) += amount;
        } else if ((deficit_[next] -= amount) == 0) {
          set_member(nearer, next, false);
        }
      }
    }
  };
  if (level > 1) {
    push(level - 1, room_below_.of(level, token), [&](int64_t lower, int64_t limit) {
      const auto current = flow(level - 1, token, lower);
      const auto amount = std::min(limit, capacities_.at(level - 1, token, lower) - current);
      set_flow(level - 1, token, lower, current + amount);
      return amount;
    });
  }
  if (level + 1 < blocks_) {
    push(level + 1, flow_above_.of(level, token), [&](int64_t upper, int64_t limit) {
      const auto current = flow(level, upper, token);
      const auto amount = std::min(limit, current);
      set_flow(level, upper, token, current - amount);
      return amount;
    });
  }
  excess(level, token) = rest;
}

void LayeredFlow::set_flow(int64_t block, int64_t upper, int64_t lower, int64_t value) {
  flow(block, upper, lower) = value;
  const bool has_room = value < capacities_.at(block, upper, lower);
  set_member(room_below_.of(block + 1, upper), lower, has_room);
  set_member(room_above_.of(block, lower), upper, has_room);
  set_member(flow_below_.of(block + 1, upper), lower, value > 0);
  set_member(flow_above_.of(block, lower), upper, value > 0);
}

}  // namespace sightline
