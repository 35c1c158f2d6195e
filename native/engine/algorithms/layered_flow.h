// Maximum flows through layers of tokens that are joined densely, one layer to the next.
#pragma once

#include "engine/pch.h"

namespace sightline {

// Level l + 1 lies above block l, level l below it. Capacities are whole numbers: sums and differences of flows are then
// exact, and the search for augmenting paths ends.
class LayeredCapacities {
 public:
  // `blocks`: first block first, each [tokens, tokens], [upper, lower]. Negative ones count as 0. Throws EngineError
  // INTERNAL where one is not finite.
  LayeredCapacities(const std::vector<const float*>& blocks, int64_t tokens);

  int64_t tokens() const { return tokens_; }
  int64_t blocks() const { return blocks_; }
  int64_t bytes() const { return static_cast<int64_t>(values_.size() * sizeof(int64_t)); }
  int64_t at(int64_t block, int64_t upper, int64_t lower) const { return values_[(block * tokens_ + upper) * tokens_ + lower]; }
  double unit() const { return unit_; }  // what a capacity of 1 stands for

 private:
  int64_t tokens_;
  int64_t blocks_;
  double unit_ = 1;
  std::vector<int64_t> values_;
};

// Maximum flows from one token of the highest level to tokens of level 0, one sink after another, by Dinic's algorithm.
//
// Two things make it fast. The flow found for one sink is kept for the next down to level 1: what then arrives where the
// new sink takes less is sent on from there. And which edges have room left is kept in bits, a row of them for each node,
// so that a search looks at 64 edges at once.
class LayeredFlow {
 public:
  // `capacities` must outlive this.
  LayeredFlow(const LayeredCapacities& capacities, int64_t source);

  // The maximum flow to that token of level 0 alone.
  double to(int64_t sink);

 private:
  using Word = uint64_t;
  struct Visit {
    int64_t level;
    int64_t token;
    int64_t wish;  // may still be sent from here on
    int64_t sent;
  };

  int64_t& flow(int64_t block, int64_t upper, int64_t lower) {
    return flow_[((block - 1) * tokens_ + upper) * tokens_ + lower];
  }
  // Room towards the level below / flow that came from the level above and can be sent back.
  Word* down(int64_t level, int64_t token) { return &down_[((level - 2) * tokens_ + token) * words_]; }
  Word* up(int64_t level, int64_t token) { return &up_[((level - 1) * tokens_ + token) * words_]; }
  Word* layer(int64_t distance, int64_t level) { return &layers_[(distance * (blocks_ + 1) + level) * words_]; }

  bool find_layers();
  void fill_layers();
  int64_t send(int64_t level, int64_t token, int64_t supply);
  void move(const Visit& from, const Visit& to, int64_t amount);
  int64_t first_common(const Word* a, const Word* b) const;

  const LayeredCapacities& capacities_;
  const int64_t source_;
  const int64_t tokens_;
  const int64_t blocks_;
  const int64_t words_;             // of 64 bits, for a set of tokens
  std::vector<int64_t> flow_;       // of the blocks but the first
  std::vector<Word> down_, up_;
  std::vector<int64_t> excess_;     // arrived on level 1 beyond what the sink takes from there
  std::vector<int64_t> deficit_;    // what the sink would still take
  std::vector<int64_t> arrived_;    // on level 1
  std::vector<Word> layers_;        // nodes by their distance from what has something to send, and by level
  std::vector<Word> visited_;
  int64_t last_layer_ = 0;          // that of the nearest nodes with a deficit
  std::vector<Visit> path_;
};

}  // namespace sightline
