// Batches that were too large for the device's memory, so that the next one is not gathered as large again.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

namespace sightline {

class Model;
struct Plan;

class BatchLimits {
 public:
  using Clock = std::chrono::steady_clock;

  // How long a limit holds. Memory that something else took may be free again by then; a model or plan that is gone
  // takes its limit along at once.
  static constexpr std::chrono::minutes kHolds{10};

  // What shares a limit: batches of one plan, image size and number of targets.
  struct Kind {
    std::weak_ptr<const Model> model;
    std::weak_ptr<const Plan> plan;
    int64_t height, width, targets;
  };

  // A batch of more than `images` did not fit. Holds from `now`, also where a limit held before.
  void remember(const Kind& kind, int64_t images, Clock::time_point now = Clock::now());
  // `wanted`, or fewer images where more were found not to fit.
  int64_t most(const Kind& kind, int64_t wanted, Clock::time_point now = Clock::now()) const;
  bool is_empty() const { return limits_.empty(); }

 private:
  struct Limit {
    Kind kind;
    int64_t images;
    Clock::time_point until;
  };
  std::vector<Limit> limits_;
};

}  // namespace sightline
