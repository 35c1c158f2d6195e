#include "engine/algorithms/layered_flow.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/errors.h"

namespace sightline {

namespace {

constexpr int64_t kVisits = 5;  // of each token of a level by paths, before a sweep; measured to be best over 2 to 20
constexpr int kBits = 44;       // of the largest capacity: sums over all tokens of a level stay far from overflowing

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
    for (int64_t i = 0; i < size; ++i)
      *value++ = block[i] > 0 ? std::llround(std::ldexp(block[i], kBits - exponent)) : 0;
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
      for (int64_t lower = 0; lower < tokens_; ++lower) {
        if (capacities_.at(block, upper, lower) == 0) continue;
        set_member(room_below_.of(block + 1, upper), lower, true);
        set_member(room_above_.of(block, lower), upper, true);
      }
    }
  }
  for (int64_t token = 0; token < tokens_; ++token)
    excess(blocks_ - 1, token) = capacities_.at(blocks_ - 1, source_, token);
}

double LayeredFlow::to(int64_t sink) {
  if (blocks_ == 1) return static_cast<double>(capacities_.at(0, source_, sink)) * capacities_.unit();
  sink_ = sink;
  int64_t total = 0;
  for (int64_t token = 0; token < tokens_; ++token) {
    const auto available = excess(1, token) + taken_[token];
    const auto capacity = capacities_.at(0, token, sink);
    taken_[token] = std::min(available, capacity);
    excess(1, token) = available - taken_[token];
    deficit_[token] = capacity - taken_[token];
    total += capacity;
  }
  while (measure_distances()) {
    int64_t budget = kVisits * tokens_;
    for_each_excess([&](int64_t distance, int64_t level, int64_t token, int64_t amount) {
      return budget > 0 ? send_along_paths(distance, level, token, amount, budget) : 0;
    });
    if (budget > 0) continue;
    for_each_excess([&](int64_t distance, int64_t level, int64_t token, int64_t amount) {
      return push(distance, level, token, amount);
    });
  }
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

// Calls `send`, which gives what it got rid of, for each token with excess from the farthest to the nearest: all that
// reaches a token from farther away has then arrived before it is its turn.
template <typename Sender>
void LayeredFlow::for_each_excess(const Sender& send) {
  for (int64_t distance = farthest_; distance > 0; --distance) {
    for (int64_t level = 1; level < blocks_; ++level) {
      for_each(layer(distance, level), [&](int64_t token) {
        if (const auto amount = excess(level, token))
          excess(level, token) = amount - send(distance, level, token, amount);
      });
    }
  }
}

// Depth first, only as far as all of it arrives; no more than `budget` tokens are visited, and counted off it. The path is
// kept by hand: in the worst case it goes through every token, too deep for a thread's stack.
int64_t LayeredFlow::send_along_paths(int64_t distance, int64_t level, int64_t token, int64_t supply, int64_t& budget) {
  path_.clear();
  path_.push_back({level, token, supply, 0});
  while (true) {
    Visit& here = path_.back();
    if (distance == 0) {
      here.sent = std::min(here.wish, deficit_[here.token]);
      fill_deficit(here.token, here.sent);
    } else if (here.wish > 0 && budget > 0) {
      if (const auto [next_level, next] = next_of(distance, here.level, here.token); next_level > 0) {
        path_.push_back({next_level, next, std::min(here.wish, room(here.level, here.token, next_level, next)), 0});
        --distance;
        --budget;
        continue;
      }
      // Nothing more gets through here, whoever asks next.
      set_member(layer(distance, here.level), here.token, false);
    }
    const Visit done = here;
    path_.pop_back();
    ++distance;
    if (path_.empty()) return done.sent;
    if (done.sent == 0) continue;
    Visit& before = path_.back();
    move(before.level, before.token, done.level, done.token, done.sent);
    before.wish -= done.sent;
    before.sent += done.sent;
  }
}

// To the next nearer tokens, whatever becomes of it there. What is left afterwards has no room on any shortest way: its
// distance grows, so that sweeps come to an end.
int64_t LayeredFlow::push(int64_t distance, int64_t level, int64_t token, int64_t supply) {
  int64_t rest = supply;
  while (rest > 0) {
    const auto [next_level, next] = next_of(distance, level, token);
    if (next_level == 0) break;
    auto amount = std::min(rest, room(level, token, next_level, next));
    if (distance == 1) {
      amount = std::min(amount, deficit_[next]);
      fill_deficit(next, amount);
    } else {
      excess(next_level, next) += amount;
    }
    move(level, token, next_level, next, amount);
    rest -= amount;
  }
  return supply - rest;
}

// The level and the number of a nearer token with room on the way; level 0 when there is none.
std::array<int64_t, 2> LayeredFlow::next_of(int64_t distance, int64_t level, int64_t token) {
  const auto first = [&](const Word* a, const Word* b) {
    // With residual connections the widest way leads through the sink's own token, then straight on.
    for (const auto wide : {sink_, token}) {
      if ((a[wide >> 6] & b[wide >> 6]) >> (wide & 63) & 1) return wide;
    }
    for (int64_t w = 0; w < words_; ++w) {
      if (const Word both = a[w] & b[w]) return w * 64 + std::countr_zero(both);
    }
    return int64_t{-1};
  };
  if (level > 1) {
    const auto below = first(room_below_.of(level, token), layer(distance - 1, level - 1));
    if (below >= 0) return {level - 1, below};
  }
  if (level + 1 < blocks_) {
    const auto above = first(flow_above_.of(level, token), layer(distance - 1, level + 1));
    if (above >= 0) return {level + 1, above};
  }
  return {0, 0};
}

// Downwards what the edge has left, upwards what came down it.
int64_t LayeredFlow::room(int64_t level, int64_t token, int64_t next_level, int64_t next) {
  if (next_level < level) return capacities_.at(next_level, token, next) - flow(next_level, token, next);
  return flow(level, next, token);
}

void LayeredFlow::move(int64_t level, int64_t token, int64_t next_level, int64_t next, int64_t amount) {
  if (next_level < level) {
    set_flow(next_level, token, next, flow(next_level, token, next) + amount);
  } else {
    set_flow(level, next, token, flow(level, next, token) - amount);
  }
}

void LayeredFlow::fill_deficit(int64_t token, int64_t amount) {
  deficit_[token] -= amount;
  if (deficit_[token] == 0) set_member(layer(0, 1), token, false);
}

void LayeredFlow::set_flow(int64_t block, int64_t upper, int64_t lower, int64_t value) {
  auto& current = flow(block, upper, lower);
  const auto capacity = capacities_.at(block, upper, lower);
  if ((current < capacity) != (value < capacity)) {
    set_member(room_below_.of(block + 1, upper), lower, value < capacity);
    set_member(room_above_.of(block, lower), upper, value < capacity);
  }
  if ((current > 0) != (value > 0)) {
    set_member(flow_below_.of(block + 1, upper), lower, value > 0);
    set_member(flow_above_.of(block, lower), upper, value > 0);
  }
  current = value;
}

}  // namespace sightline
