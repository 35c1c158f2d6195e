// Where a long job lets others pass: between the chunks of a loop over samples, and between the rounds of an iteration.
#pragma once

#include <functional>

namespace sightline {

// While it lives, pause points on this thread call `between`, which may run other plans. No reference to a program is held
// there. Without a scope they do nothing.
class PauseScope {
 public:
  explicit PauseScope(const std::function<void()>& between);
  ~PauseScope();
  PauseScope(const PauseScope&) = delete;
  PauseScope& operator=(const PauseScope&) = delete;

 private:
  const std::function<void()>* outer_;
};

void pause_point();

}  // namespace sightline
