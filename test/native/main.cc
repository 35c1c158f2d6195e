// engine_tests ARCHIVES [PART OF A NAME]...: runs the tests whose names hold one of the parts, or all.
#include <torch/csrc/jit/runtime/interpreter.h>

#include <chrono>
#include <cstdio>
#include <exception>

#include "engine/device/workers.h"
#include "runner.h"

namespace sightline::test {

std::vector<Test>& tests() {
  static auto* all = new std::vector<Test>;
  return *all;
}

static std::string folder;
const std::string& archives_folder() { return folder; }

}  // namespace sightline::test

int main(int count, char** arguments) {
  using namespace sightline::test;
  if (count < 2) {
    std::fprintf(stderr, "Usage: engine_tests test/parity/archives [PART OF A NAME]...\n");
    return 2;
  }
  folder = arguments[1];
  // As the bridge sets it.
  FLAGS_torch_jit_enable_rethrow_caught_exception = true;
  int failed = 0, run = 0;
  for (const auto& test : tests()) {
    bool is_asked = count == 2;
    for (int i = 2; i < count; ++i) is_asked = is_asked || test.name.find(arguments[i]) != std::string::npos;
    if (!is_asked) continue;
    ++run;
    const auto started = std::chrono::steady_clock::now();
    std::string error;
    try {
      test.run();
    } catch (const std::exception& exception) {
      error = exception.what();
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
    std::printf("%s %6.2f s  %s\n", error.empty() ? "ok  " : "FAIL", seconds.count(), test.name.c_str());
    if (!error.empty()) {
      ++failed;
      std::printf("     %s\n", error.c_str());
    }
    std::fflush(stdout);
  }
  sightline::stop_workers(/*for_good=*/true);
  std::printf("%d of %d tests passed\n", run - failed, run);
  return failed == 0 && run > 0 ? 0 : 1;
}
