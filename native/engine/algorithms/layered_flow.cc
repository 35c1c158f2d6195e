#include "engine/algorithms/layered_flow.h"

#include <bit>

#include "engine/errors.h"

namespace sightline {

namespace {

constexpr int kBits = 44;                          // of the largest capacity
constexpr int64_t kUnlimited = int64_t{1} << 62;  // what the source has to send

void insert(uint64_t* set, int64_t token) { set[token >> 6] |= uint64_t{1} << (token & 63); }
void erase(uint64_t* set, int64_t token) { set[token >> 6] &= ~(uint64_t{1} << (token & 63)); }

// Calls `visit` with each member of the set.
template <typename Visitor>
void for_each(const uint64_t* set, int64_t words, const Visitor& visit) {
  for (int64_t w = 0; w < words; ++w) {
    for (uint64_t rest = set[w]; rest != 0; rest &= rest - 1) visit(w * 64 + std::countr_zero(rest));
  }
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
  // A power of two, so that scaling rounds nothing but the capacities themselves.
  int exponent = 0;
  std::frexp(largest, &exponent);
  unit_ = std::ldexp(1.0, exponent - kBits);
  const double scale = std::ldexp(1.0, kBits - exponent);
  auto* value = values_.data();
  for (const float* block : blocks) {
    for (int64_t i = 0; i < size; ++i) *value++ = block[i] > 0 ? std::llround(block[i] * scale) : 0;
  }
}

LayeredFlow::LayeredFlow(const LayeredCapacities& capacities, int64_t source)
    : capacities_(capacities),
      source_(source),
      tokens_(capacities.tokens()),
      blocks_(capacities.blocks()),
      words_((capacities.tokens() + 63) / 64),
      flow_((blocks_ - 1) * tokens_ * tokens_),
      down_((blocks_ - 1) * tokens_ * words_),
      up_((blocks_ - 1) * tokens_ * words_),
      excess_(tokens_),
      deficit_(tokens_),
      arrived_(tokens_),
      visited_((blocks_ + 1) * words_) {
  for (int64_t block = 1; block < blocks_; ++block) {
    for (int64_t upper = 0; upper < tokens_; ++upper) {
      Word* room = down(block + 1, upper);
      for (int64_t lower = 0; lower < tokens_; ++lower) {
        if (capacities_.at(block, upper, lower) > 0) insert(room, lower);
      }
    }
  }
}

double LayeredFlow::to(int64_t sink) {
  if (blocks_ == 1) return static_cast<double>(capacities_.at(0, source_, sink)) * capacities_.unit();
  int64_t wanted = 0;
  for (int64_t token = 0; token < tokens_; ++token) {
    const auto capacity = capacities_.at(0, token, sink);
    excess_[token] = std::max<int64_t>(arrived_[token] - capacity, 0);
    deficit_[token] = std::max<int64_t>(capacity - arrived_[token], 0);
    wanted += capacity;
  }
  while (find_layers()) fill_layers();
  int64_t missing = 0;
  for (int64_t token = 0; token < tokens_; ++token) {
    missing += deficit_[token];
    arrived_[token] = capacities_.at(0, token, sink) + excess_[token] - deficit_[token];
  }
  return static_cast<double>(wanted - missing) * capacities_.unit();
}

// Sorts the nodes by their distance from the source and from the excesses, up to the first that have a deficit. False
// when none can be reached: the flow is then as large as it can be.
bool LayeredFlow::find_layers() {
  const int64_t stride = (blocks_ + 1) * words_;
  layers_.assign(stride, 0);
  std::fill(visited_.begin(), visited_.end(), 0);
  bool has_deficit = false;
  insert(layer(0, blocks_), source_);
  for (int64_t token = 0; token < tokens_; ++token) {
    if (excess_[token] > 0) insert(layer(0, 1), token);
    has_deficit = has_deficit || deficit_[token] > 0;
  }
  if (!has_deficit) return false;
  for (int64_t distance = 0;; ++distance) {
    bool is_empty = true, has_arrived = false;
    for (int64_t i = 0; i < stride; ++i) {
      const Word word = layers_[distance * stride + i];
      visited_[i] |= word;
      is_empty = is_empty && word == 0;
    }
    if (is_empty) return false;
    for_each(layer(distance, 1), words_, [&](int64_t token) { has_arrived = has_arrived || deficit_[token] > 0; });
    if (has_arrived) {
      last_layer_ = distance;
      // Nothing else in the last layer leads anywhere.
      for (int64_t level = 2; level <= blocks_; ++level) std::fill_n(layer(distance, level), words_, 0);
      for (int64_t token = 0; token < tokens_; ++token) {
        if (deficit_[token] == 0) erase(layer(distance, 1), token);
      }
      return true;
    }
    layers_.resize((distance + 2) * stride, 0);
    for (int64_t level = 1; level <= blocks_; ++level) {
      for_each(layer(distance, level), words_, [&](int64_t token) {
        if (level > 1) {
          const Word* below = down(level, token);
          for (int64_t w = 0; w < words_; ++w) layer(distance + 1, level - 1)[w] |= below[w];
        }
        if (level < blocks_) {
          const Word* above = up(level, token);
          for (int64_t w = 0; w < words_; ++w) layer(distance + 1, level + 1)[w] |= above[w];
        }
      });
    }
    for (int64_t i = 0; i < stride; ++i) layers_[(distance + 1) * stride + i] &= ~visited_[i];
  }
}

// Sends all that can go from layer to layer.
void LayeredFlow::fill_layers() {
  for (int64_t token = 0; token < tokens_; ++token) {
    if (excess_[token] > 0) excess_[token] -= send(1, token, excess_[token]);
  }
  send(blocks_, source_, kUnlimited);
}

int64_t LayeredFlow::first_common(const Word* a, const Word* b) const {
  for (int64_t w = 0; w < words_; ++w) {
    if (const Word both = a[w] & b[w]) return w * 64 + std::countr_zero(both);
  }
  return -1;
}

// Depth first from one node of the first layer; returns how much arrived where it was wanted. The path is kept by hand: in
// the worst case it goes through every node, too deep for a thread's stack.
int64_t LayeredFlow::send(int64_t level, int64_t token, int64_t supply) {
  path_.clear();
  path_.push_back({level, token, supply, 0});
  while (true) {
    const auto distance = static_cast<int64_t>(path_.size()) - 1;
    Visit& here = path_.back();
    bool is_done = here.wish == 0;
    if (distance == last_layer_) {
      here.sent = std::min(here.wish, deficit_[here.token]);
      deficit_[here.token] -= here.sent;
      if (deficit_[here.token] == 0) erase(layer(distance, 1), here.token);
      is_done = true;
    } else if (!is_done) {
      int64_t next = -1;
      if (here.level > 1 && (next = first_common(down(here.level, here.token), layer(distance + 1, here.level - 1))) >= 0) {
        const auto room = capacities_.at(here.level - 1, here.token, next) - flow(here.level - 1, here.token, next);
        path_.push_back({here.level - 1, next, std::min(here.wish, room), 0});
        continue;
      }
      if (here.level < blocks_ && (next = first_common(up(here.level, here.token), layer(distance + 1, here.level + 1))) >= 0) {
        path_.push_back({here.level + 1, next, std::min(here.wish, flow(here.level, next, here.token)), 0});
        continue;
      }
      // Nothing more gets through here, whoever asks next.
      erase(layer(distance, here.level), here.token);
      is_done = true;
    }
    const Visit finished = here;
    path_.pop_back();
    if (path_.empty()) return finished.sent;
    if (finished.sent > 0) {
      move(path_.back(), finished, finished.sent);
      path_.back().wish -= finished.sent;
      path_.back().sent += finished.sent;
    }
  }
}

void LayeredFlow::move(const Visit& from, const Visit& to, int64_t amount) {
  const bool is_down = to.level < from.level;
  const Visit& upper = is_down ? from : to;
  const Visit& lower = is_down ? to : from;
  auto& value = flow(lower.level, upper.token, lower.token);
  value += is_down ? amount : -amount;
  const auto capacity = capacities_.at(lower.level, upper.token, lower.token);
  (value < capacity ? insert : erase)(down(upper.level, upper.token), lower.token);
  (value > 0 ? insert : erase)(up(lower.level, lower.token), upper.token);
}

}  // namespace sightline
