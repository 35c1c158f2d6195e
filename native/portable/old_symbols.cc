// What the addon asks of the C and C++ library must be no newer than what LibTorch asks: GLIBC_2.28 and GLIBCXX_3.4.22.
// A linker takes the newest version of each symbol that the building machine has, so an addon built on Debian 12 would
// not load on Debian 10. The few that are newer are defined here, hidden, by their older versions; a test reads the built
// addon and names each one that a change adds. The other way, a static libstdc++, is a trap: LibTorch's exceptions and
// streams would meet a second copy of their own run-time types.
#include <pthread.h>
#include <cerrno>
#include <condition_variable>
#include <ctime>

#if defined(__linux__) && defined(__GLIBC__)

#if defined(__x86_64__)
#define OLDEST "GLIBC_2.2.5"
#define OLDEST_THREADS "GLIBC_2.3.2"
#else
#define OLDEST "GLIBC_2.17"
#define OLDEST_THREADS "GLIBC_2.17"
#endif

#define HIDDEN __attribute__((visibility("hidden")))

// They differ from today's (2.29) in how errors are reported: these set errno as before, and give the same values.
#define OLD_OF_ONE(name)                              \
  extern "C" double old_##name(double);               \
  __asm__(".symver old_" #name "," #name "@" OLDEST); \
  extern "C" HIDDEN double name(double x) { return old_##name(x); }
#define OLD_OF_TWO(name)                              \
  extern "C" double old_##name(double, double);       \
  __asm__(".symver old_" #name "," #name "@" OLDEST); \
  extern "C" HIDDEN double name(double x, double y) { return old_##name(x, y); }

OLD_OF_ONE(exp)
OLD_OF_ONE(log)
OLD_OF_ONE(log2)
OLD_OF_TWO(pow)

// 2.32. Read by shared_ptr to spare atomic operations while there is one thread; here there never is.
extern "C" HIDDEN char __libc_single_threaded;
char __libc_single_threaded = 0;

// GLIBCXX_3.4.30: it was then declared noexcept, and is else as it was.
extern "C" void old_wait(std::condition_variable*, std::unique_lock<std::mutex>&);
__asm__(".symver old_wait,_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE@GLIBCXX_3.4.11");
namespace std {
HIDDEN void condition_variable::wait(unique_lock<mutex>& lock) noexcept { old_wait(this, lock); }
}  // namespace std

// 2.30. Older systems wait by the wall clock only, which may be set back while one waits: so no longer than a moment at a
// time, after which the caller sees by its own clock that it woke too early, as the standard allows, and waits on.
__asm__(".hidden pthread_cond_clockwait");  // an attribute comes too late, after the header's declaration
extern "C" int old_timedwait(pthread_cond_t*, pthread_mutex_t*, const timespec*);
__asm__(".symver old_timedwait,pthread_cond_timedwait@" OLDEST_THREADS);
extern "C" int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                                      const timespec* end) {
  constexpr long long second = 1'000'000'000, moment = second / 5;
  timespec now{};
  clock_gettime(clock, &now);
  const long long left = (end->tv_sec - now.tv_sec) * second + (end->tv_nsec - now.tv_nsec);
  clock_gettime(CLOCK_REALTIME, &now);
  const long long until = now.tv_nsec + (left < 0 ? 0 : left > moment ? moment : left);
  const timespec wall{now.tv_sec + static_cast<time_t>(until / second), static_cast<long>(until % second)};
  const int outcome = old_timedwait(condition, mutex, &wall);
  return left > moment && outcome == ETIMEDOUT ? 0 : outcome;
}

#endif
