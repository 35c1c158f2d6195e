// Maximum flows through layers of tokens that are joined densely, one layer to the next.
#pragma once

#include <cstdint>
#include <vector>

namespace sightline {

// Level l + 1 lies above block l, level l below it. Capacities are whole numbers: sums and differences of flows are then
// exact, and the search for room ends.
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

// A set of tokens for each token of each level, as bits: a search looks at 64 edges at once.
class TokenSets {
 public:
  using Word = uint64_t;

  TokenSets(int64_t levels, int64_t tokens) : tokens_(tokens), words_((tokens + 63) / 64), bits_(levels * tokens_ * words_) {}

  Word* of(int64_t level, int64_t token) { return &bits_[(level * tokens_ + token) * words_]; }

 private:
  int64_t tokens_;
  int64_t words_;
  std::vector<Word> bits_;
};

// Maximum flows from one token of the highest level to tokens of level 0, one sink after another, by pushing (Goldberg &
// Tarjan, JACM 1988). All that can leave the source is put on the level below it at once, and never taken back: what is
// found to lead nowhere is left where it lies, which for the amount of the flow is as good. For each sink, distances to
// it are measured anew before each sweep, and a sweep pushes from the farthest tokens to the nearest, once from each. What
// lies about after one sink is where the next one starts.
class LayeredFlow {
 public:
  // `capacities` must outlive this.
  LayeredFlow(const LayeredCapacities& capacities, int64_t source);

  // The maximum flow to that token of level 0 alone.
  double to(int64_t sink);

 private:
  using Word = TokenSets::Word;

  int64_t& excess(int64_t level, int64_t token) { return excess_[level * tokens_ + token]; }
  int64_t& flow(int64_t block, int64_t upper, int64_t lower) { return flow_[(block * tokens_ + upper) * tokens_ + lower]; }
  Word* layer(int64_t distance, int64_t level) { return &layers_[(distance * blocks_ + level) * words_]; }

  bool measure_distances();
  void sweep();
  void push_from(int64_t distance, int64_t level, int64_t token);
  void set_flow(int64_t block, int64_t upper, int64_t lower, int64_t value);
  template <typename Visitor>
  void for_each(const Word* set, const Visitor& visit) const;

  const LayeredCapacities& capacities_;
  const int64_t source_;
  const int64_t tokens_;
  const int64_t blocks_;
  const int64_t words_;           // of a set of tokens
  std::vector<int64_t> flow_;     // of the blocks between the first and the last
  std::vector<int64_t> excess_;   // what has arrived and not gone on; levels 1 to blocks - 1
  std::vector<int64_t> deficit_;  // of level 1: what the sink would still take from there
  std::vector<int64_t> taken_;    // of level 1: what the last sink took
  // An edge downwards with room / with flow, which can be pushed back; each by its upper and by its lower end.
  TokenSets room_below_, room_above_, flow_below_, flow_above_;
  std::vector<Word> layers_;      // tokens with room, by their distance from those with a deficit, and by level
  std::vector<Word> seen_;
  int64_t farthest_ = 0;          // the distance of the farthest excess
};

}  // namespace sightline
