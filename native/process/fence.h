// Limits that a process puts on itself, before it opens an archive that may be hostile.
#pragma once

#include <cstdint>
#include <string>

namespace sightline {

struct FenceLimits {
  int64_t address_bytes = 0;      // address space beyond what is mapped now; 0: no limit
  int64_t processor_seconds = 0;  // of all threads together, whereafter the kernel kills the process; 0: no limit
};

struct Fence {
  bool memory = false;  // whether the address space is limited
  bool files = false;   // whether no file can be written, made or removed any more
};

// For good, and for all threads that begin later; those that run already may still write files. Linux: RLIMIT_AS, RLIMIT_CPU,
// no core dump, no file grows, Landlock without any right to write where the kernel has it, and death with the parent.
// macOS: processor time, core dumps and file sizes only.
Fence raise_fence(const FenceLimits& limits);

}  // namespace sightline
