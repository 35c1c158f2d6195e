// The least that a test needs: named tests, checks that say what they saw, a main that runs those asked for.
#pragma once

#include <cmath>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace sightline::test {

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Test {
  std::string name;
  std::function<void()> run;
};

std::vector<Test>& tests();
// The folder of the parity archives, named on the command line.
const std::string& archives_folder();

struct Registration {
  Registration(const char* name, std::function<void()> run) { tests().push_back({name, std::move(run)}); }
};

template <typename... Parts>
[[noreturn]] void fail_at(const char* file, int line, const Parts&... parts) {
  std::ostringstream text;
  text << file << ":" << line << ": ";
  (text << ... << parts);
  throw Failure(text.str());
}

}  // namespace sightline::test

#define SIGHTLINE_JOIN_(a, b) a##b
#define SIGHTLINE_JOIN(a, b) SIGHTLINE_JOIN_(a, b)
#define TEST(name)                                                                      \
  static void SIGHTLINE_JOIN(test_, __LINE__)();                                        \
  static const ::sightline::test::Registration SIGHTLINE_JOIN(registration_, __LINE__)( \
      name, &SIGHTLINE_JOIN(test_, __LINE__));                                          \
  static void SIGHTLINE_JOIN(test_, __LINE__)()

#define EXPECT(condition, ...)                                                                                 \
  do {                                                                                                         \
    if (!(condition))                                                                                          \
      ::sightline::test::fail_at(__FILE__, __LINE__, "expected " #condition __VA_OPT__(, "; ", ) __VA_ARGS__); \
  } while (false)

#define EXPECT_EQUAL(found, expected, ...)                                            \
  do {                                                                                \
    /* Copies: what is passed may be part of a temporary. */                          \
    const auto found_ = (found);                                                      \
    const auto expected_ = (expected);                                                \
    if (!(found_ == expected_))                                                       \
      ::sightline::test::fail_at(__FILE__, __LINE__, #found " is ", found_, ", not ", \
                                 expected_ __VA_OPT__(, "; ", ) __VA_ARGS__);         \
  } while (false)
