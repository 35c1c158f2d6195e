#include "process/fence.h"

#include <sys/resource.h>
#include <unistd.h>
#include <csignal>

#include <cstdio>

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

namespace sightline {

namespace {

bool limit(int resource, int64_t value) {
  rlimit limits{};
  if (getrlimit(resource, &limits) != 0) return false;
  auto most = static_cast<rlim_t>(value);
  if (limits.rlim_max != RLIM_INFINITY && limits.rlim_max < most) most = limits.rlim_max;
  limits.rlim_cur = limits.rlim_max = most;
  return setrlimit(resource, &limits) == 0;
}

#ifdef __linux__

int64_t mapped_bytes() {
  auto* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  long long pages = 0;
  const int read = std::fscanf(file, "%lld", &pages);
  std::fclose(file);
  return read == 1 ? static_cast<int64_t>(pages) * sysconf(_SC_PAGESIZE) : 0;
}

// Numbers and bits are the kernel's stable interface; headers older than the kernel lack them.
constexpr long kCreateRuleset = 444;
constexpr long kRestrictSelf = 446;
constexpr unsigned kVersionFlag = 1;

bool forbid_writing() {
  const long version = syscall(kCreateRuleset, nullptr, 0, kVersionFlag);
  if (version < 1) return false;
  constexpr uint64_t kWriteFile = 1u << 1;
  constexpr uint64_t kRemoveAndMake = 0x1ff0;  // bits 4 to 12: remove a folder or file, make a node of any kind
  uint64_t handled = kWriteFile | kRemoveAndMake;
  if (version >= 2) handled |= 1u << 13;  // link or rename into another folder
  if (version >= 3) handled |= 1u << 14;  // truncate
  // Later versions lengthened the structure; a shorter one is taken as it was.
  const long ruleset = syscall(kCreateRuleset, &handled, sizeof handled, 0);
  if (ruleset < 0) return false;
  // No rule is added, so nothing of what is handled is allowed anywhere.
  const bool done = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(kRestrictSelf, ruleset, 0) == 0;
  close(static_cast<int>(ruleset));
  return done;
}

#endif

}  // namespace

Fence raise_fence(const FenceLimits& limits) {
  Fence fence;
  limit(RLIMIT_CORE, 0);
  // Writing past the limit then fails with EFBIG, and does not end the process.
  std::signal(SIGXFSZ, SIG_IGN);
  limit(RLIMIT_FSIZE, 0);
  if (limits.processor_seconds > 0) limit(RLIMIT_CPU, limits.processor_seconds);
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  fence.files = forbid_writing();
  if (limits.address_bytes > 0) fence.memory = limit(RLIMIT_AS, mapped_bytes() + limits.address_bytes);
#endif
  return fence;
}

}  // namespace sightline
