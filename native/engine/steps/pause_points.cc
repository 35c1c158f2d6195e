#include "engine/steps/pause_points.h"

namespace sightline {

namespace {

thread_local const std::function<void()>* at_pause = nullptr;

}  // namespace

PauseScope::PauseScope(const std::function<void()>& between) : outer_(at_pause) { at_pause = &between; }

PauseScope::~PauseScope() { at_pause = outer_; }

void pause_point() {
  if (at_pause != nullptr) (*at_pause)();
}

}  // namespace sightline
