// Maximum flows through layers of tokens that are joined densely, one layer to the next.
#pragma once

#include <array>
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
  int64_t at(int64_t block, int64_t upper, int64_t lower) const {
    return values_[(block * tokens_ + upper) * tokens_ + lower];
  }
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

  TokenSets(int64_t levels, int64_t tokens)
      : tokens_(tokens), words_((tokens + 63) / 64), bits_(levels * tokens_ * words_) {}

  Word* of(int64_t level, int64_t token) { return &bits_[(level * tokens_ + token) * words_]; }

 private:
  int64_t tokens_;
  int64_t words_;
  std::vector<Word> bits_;
};

// Maximum flows from one token of the highest level to tokens of level 0, one sink after another. All that can leave the
// source is put on the level below it at once, and never taken back: what is found to lead nowhere is left where it lies,
// which for the amount of the flow is as good (Goldberg & Tarjan, JACM 1988). What lies about after one sink is where the
// next one starts.
//
// For each sink distances to it are measured, all is sent that can go on shortest ways, and so on until no way is left.
// Sending goes path by path at first (Dinic, 1970), which brings every bit of it to its end and leaves next to nothing to
// do where attention is broad. Where it is narrow there are very many paths; after some of them a sweep takes over, which
// pushes from the farthest tokens to the nearest, once from each, with no care for what comes after.
class LayeredFlow {
 public:
  // `capacities` must outlive this.
  LayeredFlow(const LayeredCapacities& capacities, int64_t source);

  // The maximum flow to that token of level 0 alone.
  double to(int64_t sink);

 private:
  using Word = TokenSets::Word;
  struct Visit {
    int64_t level;
    int64_t token;
    int64_t wish;  // may still be sent from here on
    int64_t sent;
  };

  int64_t& excess(int64_t level, int64_t token) { return excess_[level * tokens_ + token]; }
  int64_t& flow(int64_t block, int64_t upper, int64_t lower) {
    return flow_[(block * tokens_ + upper) * tokens_ + lower];
  }
  Word* layer(int64_t distance, int64_t level) { return &layers_[(distance * blocks_ + level) * words_]; }

  bool measure_distances();
  template <typename Sender>
  void for_each_excess(const Sender& send);
  int64_t send_along_paths(int64_t distance, int64_t level, int64_t token, int64_t supply, int64_t& budget);
  int64_t push(int64_t distance, int64_t level, int64_t token, int64_t supply);
  int64_t room(int64_t level, int64_t token, int64_t next_level, int64_t next);
  void move(int64_t level, int64_t token, int64_t next_level, int64_t next, int64_t amount);
  void fill_deficit(int64_t token, int64_t amount);
  std::array<int64_t, 2> next_of(int64_t distance, int64_t level, int64_t token);
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
  std::vector<Word> layers_;  // tokens with room, by their distance from those with a deficit, and by level
  std::vector<Word> seen_;
  int64_t sink_ = 0;
  int64_t farthest_ = 0;  // the distance of the farthest excess
  std::vector<Visit> path_;
};

}  // namespace sightline
