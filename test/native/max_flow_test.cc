// Attention flow: networkx's numbers, a plain search for augmenting paths, bounds, cancellation. With
// SIGHTLINE_BENCHMARK set in the environment, the times that full-size models take are printed.

#include "engine/algorithms/attention_flow.h"

#include <ATen/Parallel.h>
#include <sys/resource.h>

#include "engine/errors.h"
#include "references/max_flow.h"
#include "references/sequence.h"
#include "rounding.h"
#include "runner.h"

namespace sightline::test {

namespace {

// As in references/make.py: squared `sharpness` times, rows scaled to 1, mixed with the identity.
std::vector<at::Tensor> attention_of(int64_t blocks, int64_t tokens, uint32_t seed, int sharpness, double identity) {
  auto weights = sequence({blocks, tokens, tokens}, seed);
  for (int i = 0; i < sharpness; ++i) weights = weights * weights;
  // What was squared away altogether stays a row of zeros.
  weights = weights / weights.sum(-1, /*keepdim=*/true).clamp_min(1e-30);
  weights = weights * (1 - identity) + at::eye(tokens) * identity;
  std::vector<at::Tensor> matrices;
  for (int64_t i = 0; i < blocks; ++i) matrices.push_back(weights[i].unsqueeze(0));
  return matrices;
}

void expect_flow(const std::vector<at::Tensor>& matrices, int64_t source, const std::vector<float>& expected) {
  const auto found = attention_flow(matrices, source);
  const auto wanted = tensor_of(expected, found.sizes().vec());
  const auto difference = largest_difference(found, wanted);
  // A row's sum is rounded once a token, in numpy in another order; its quotient and mixture twice more, and the flow once.
  const auto limit = 2 * static_cast<double>(matrices[0].size(1) + 3) * kRoundoff * wanted.max().item<double>();
  EXPECT(difference <= limit, difference);
}

// Shortest augmenting paths by breadth-first search, in doubles, for small networks.
double plain_flow(const std::vector<at::Tensor>& matrices, int64_t source, int64_t sink) {
  const auto tokens = matrices[0].size(1), blocks = static_cast<int64_t>(matrices.size());
  const auto nodes = (blocks + 1) * tokens;
  std::vector<std::vector<double>> room(nodes, std::vector<double>(nodes, 0));
  for (int64_t level = 0; level < blocks; ++level) {
    for (int64_t i = 0; i < tokens; ++i) {
      for (int64_t j = 0; j < tokens; ++j) {
        room[(level + 1) * tokens + i][level * tokens + j] = std::max(0.0f, matrices[level][0][i][j].item<float>());
      }
    }
  }
  const auto start = blocks * tokens + source;
  double total = 0;
  while (true) {
    std::vector<int64_t> from(nodes, -1);
    std::deque<int64_t> open{start};
    from[start] = start;
    while (!open.empty() && from[sink] < 0) {
      const auto node = open.front();
      open.pop_front();
      for (int64_t next = 0; next < nodes; ++next) {
        if (from[next] >= 0 || room[node][next] < 1e-12) continue;
        from[next] = node;
        open.push_back(next);
      }
    }
    if (from[sink] < 0) return total;
    double amount = INFINITY;
    for (auto node = sink; node != start; node = from[node]) amount = std::min(amount, room[from[node]][node]);
    for (auto node = sink; node != start; node = from[node]) {
      room[from[node]][node] -= amount;
      room[node][from[node]] += amount;
    }
    total += amount;
  }
}

// The answer is rounded to float32 once. That capacities are rounded to 2^-45, and what the plain search leaves, is less.
double rounding_of(double flow) { return 2 * kRoundoff * std::max(1.0, flow); }

std::string message_of(const std::function<void()>& function) {
  try {
    function();
  } catch (const EngineError& error) {
    return error.code() + ": " + error.message();
  }
  return "nothing was thrown";
}

}  // namespace

TEST("attention flow: equals networkx's maximum flows") {
  expect_flow(attention_of(4, 9, 7, 0, 0), 0, kFlowOfEven);
  expect_flow(attention_of(4, 9, 8, 4, 0), 3, kFlowOfPeaked);
  expect_flow(attention_of(4, 9, 9, 2, 0.5), 0, kFlowOfResidual);
  expect_flow(attention_of(4, 9, 10, 1, 0.984375), 0, kFlowOfNearIdentity);
}

TEST("attention flow: equals a plain search for augmenting paths") {
  uint32_t seed = 200;
  for (const int64_t blocks : {1, 2, 3, 6}) {
    for (const int64_t tokens : {1, 2, 5, 8}) {
      for (const int sharpness : {0, 3, 6}) {
        for (const double identity : {0.0, 0.5, 0.99}) {
          const auto matrices = attention_of(blocks, tokens, ++seed, sharpness, identity);
          const auto source = static_cast<int64_t>(seed) % tokens;
          const auto found = attention_flow(matrices, source);
          for (int64_t sink = 0; sink < tokens; ++sink) {
            const auto expected = plain_flow(matrices, source, sink);
            EXPECT(std::abs(found[0][sink].item<double>() - expected) <= rounding_of(expected), "seed ", seed,
                   ", sink ", sink, ": ", found[0][sink].item<double>(), " is not ", expected);
          }
        }
      }
    }
  }
}

TEST("attention flow: rows need not sum to 1, entries may be zero or negative") {
  for (uint32_t seed = 1; seed < 8; ++seed) {
    std::vector<at::Tensor> matrices;
    for (uint32_t block = 0; block < 4; ++block) {
      const auto values = sequence({1, 7, 7}, 1000 * seed + block) * 100;
      matrices.push_back(at::where(values < 60, (values - 55).clamp_max(0), values));
    }
    const auto found = attention_flow(matrices, 2);
    for (int64_t sink = 0; sink < 7; ++sink) {
      const auto expected = plain_flow(matrices, 2, sink);
      EXPECT(std::abs(found[0][sink].item<double>() - expected) <= rounding_of(expected), found[0][sink].item<double>(),
             " is not ", expected);
    }
  }
  EXPECT_EQUAL(attention_flow({at::zeros({1, 3, 3}), at::zeros({1, 3, 3})}, 0).abs().max().item<float>(), 0.0f);
}

TEST("attention flow: by hand") {
  // 0 -> {0: 0.7, 1: 0.3} -> 0: {0.2, 0.8}, 1: {0.5, 0.5}: to token 0 min(0.7, 0.2) + min(0.3, 0.5), to 1 0.7 + 0.3.
  const auto lower = at::tensor(std::vector<float>{0.2f, 0.8f, 0.5f, 0.5f}).view({1, 2, 2});
  const auto upper = at::tensor(std::vector<float>{0.7f, 0.3f, 0.9f, 0.1f}).view({1, 2, 2});
  expect_flow({lower, upper}, 0, {0.5f, 1.0f});
  // Through identities everything stays where it is.
  expect_flow({at::eye(3).unsqueeze(0), at::eye(3).unsqueeze(0)}, 1, {0, 1, 0});
  expect_flow({lower}, 1, {0.5f, 0.5f});
}

TEST("attention flow: at least the rollout, at most what leaves the source and what the sink takes in") {
  for (const double identity : {0.0, 0.5, 0.95}) {
    const auto matrices = attention_of(12, 70, 300, 5, identity);
    const auto flow = attention_flow(matrices, 0)[0];
    auto rollout = matrices.back()[0].narrow(0, 0, 1).to(at::kDouble);
    for (size_t i = matrices.size() - 1; i-- > 0;) rollout = rollout.mm(matrices[i][0].to(at::kDouble));
    const auto bound = at::minimum(matrices[0][0].sum(0, false, at::kDouble), matrices.back()[0][0].sum(at::kDouble));
    // Rows sum to 1 but for a rounding for each token, and rollout multiplies those of 12 blocks.
    EXPECT((flow >= rollout[0] * (1 - 12 * 70 * kRoundoff)).all().item<bool>());
    EXPECT((flow <= bound * (1 + 2 * kRoundoff)).all().item<bool>());
  }
}

TEST("attention flow: full-size models, from even attention to next to none") {
  struct Size {
    int64_t blocks, tokens;
  };
  const bool is_printed = std::getenv("SIGHTLINE_BENCHMARK") != nullptr;
  for (const auto& [blocks, tokens] :
       is_printed ? std::vector<Size>{{12, 197}, {24, 197}, {12, 577}} : std::vector<Size>{{12, 197}}) {
    for (const auto& [sharpness, identity] :
         std::vector<std::pair<int, double>>{{0, 0.5}, {3, 0.5}, {5, 0.5}, {4, 0.0}, {2, 0.99}}) {
      // The even one is fast anywhere; the others are a matter of seconds under a sanitizer.
      if (!is_printed && sharpness > 3) continue;
      const auto matrices = attention_of(blocks, tokens, 304, sharpness, identity);
      const auto started = std::chrono::steady_clock::now();
      const auto flow = attention_flow(matrices, 0)[0];
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
      if (is_printed) {
        std::printf("     %d blocks, %d tokens, sharpness %d, identity %.2f: %.3f s on %d threads\n",
                    static_cast<int>(blocks), static_cast<int>(tokens), sharpness, identity, seconds.count(),
                    at::get_num_threads());
      }
      const auto bound =
          at::minimum(matrices.front()[0].sum(0, false, at::kDouble), matrices.back()[0][0].sum(at::kDouble));
      EXPECT((flow <= bound * (1 + 2 * kRoundoff)).all().item<bool>());
      // Where nothing between source and sink is tight, the bound is reached.
      if (sharpness == 0) EXPECT(largest_difference(flow, bound) <= rounding_of(1), largest_difference(flow, bound));
      // What stays in the column of the source, and what the source lets go, bound the others when little moves.
      if (identity > 0.9)
        EXPECT(flow.narrow(0, 1, tokens - 1).max().item<double>() <
               0.01 * static_cast<double>(blocks) * (1 + 2 * static_cast<double>(tokens) * kRoundoff));
    }
  }
}

TEST("attention flow: each image as if alone, the same on any number of threads") {
  std::vector<at::Tensor> together;
  const auto first = attention_of(5, 65, 301, 4, 0.3), second = attention_of(5, 65, 302, 5, 0.0);
  for (size_t i = 0; i < first.size(); ++i) together.push_back(at::cat({first[i], second[i]}));
  const auto flow = attention_flow(together, 3);
  // To the bit: flows are sums of whole numbers.
  EXPECT(at::equal(flow[0], attention_flow(first, 3)[0]));
  EXPECT(at::equal(flow[1], attention_flow(second, 3)[0]));
  const auto threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto alone = attention_flow(together, 3);
  at::set_num_threads(4);
  const auto four = attention_flow(together, 3);
  at::set_num_threads(threads);
  EXPECT(at::equal(alone, flow) && at::equal(four, flow));
}

TEST("attention flow: where the system gives no more threads, those that there are do all") {
  const auto matrices = attention_of(3, 80, 5, 1, 0.5);
  const auto threads = at::get_num_threads();
  const auto expected = attention_flow(matrices, 0);
  at::set_num_threads(4);
  rlimit before{};
  EXPECT(getrlimit(RLIMIT_AS, &before) == 0);
  // A thread's stack does not fit any more; small memory still does.
  auto tight = before;
  tight.rlim_cur = 1 << 20;
  EXPECT(setrlimit(RLIMIT_AS, &tight) == 0);
  at::Tensor found;
  std::optional<EngineError> failed;
  try {
    found = attention_flow(matrices, 0);
  } catch (...) {
    failed = translate_current_exception("INTERNAL", "attention flow");
  }
  setrlimit(RLIMIT_AS, &before);
  at::set_num_threads(threads);
  // The process may have had no memory at hand for the flow itself; what it must not do is end.
  if (failed) {
    EXPECT_EQUAL(failed->code(), std::string("OUT_OF_MEMORY"));
    return;
  }
  EXPECT(largest_difference(found, expected) == 0.0);
}

TEST("attention flow: bad input is refused, a cancelled request ends") {
  const auto matrices = attention_of(3, 40, 303, 2, 0.5);
  EXPECT(message_of([&] { attention_flow(matrices, 40); }).find("token 40") != std::string::npos);
  EXPECT(message_of([&] { attention_flow({}, 0); }).find("at least one block") != std::string::npos);
  EXPECT(message_of([&] { attention_flow({matrices[0], at::zeros({1, 4, 4})}, 0); }).find("one size") !=
         std::string::npos);
  EXPECT(message_of([&] { attention_flow({matrices[0] / 0.0}, 0); }).find("not finite") != std::string::npos);
  std::atomic<int> asked{0};
  const auto message = message_of([&] { attention_flow(matrices, 0, [&] { return ++asked == 3; }); });
  EXPECT_EQUAL(message, "ABORTED: The request was aborted.");
  EXPECT(asked < 40, asked.load());
}

}  // namespace sightline::test
