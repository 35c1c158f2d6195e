#include "engine/algorithms/attention_flow.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <system_error>
#include <thread>

#include "engine/algorithms/layered_flow.h"
#include "engine/algorithms/upload.h"
#include "engine/errors.h"

namespace sightline {

namespace {

// Beyond this, fewer threads: each keeps a flow of its own, as large as the capacities.
constexpr int64_t kFlowBytes = int64_t{1} << 30;

// The flows to all tokens below the first block, [N], from one image's capacities.
at::Tensor flows(const LayeredCapacities& capacities, int64_t source, const std::function<bool()>& cancelled) {
  const auto tokens = capacities.tokens();
  auto result = at::empty({tokens}, at::kDouble);
  auto* values = result.data_ptr<double>();
  std::atomic<bool> stopped{false};
  std::mutex mutex;  // of `cancelled` and `error`
  std::exception_ptr error;
  const auto compute = [&](int64_t begin, int64_t end) {
    try {
      LayeredFlow flow(capacities, source);
      for (int64_t sink = begin; sink < end && !stopped; ++sink) {
        values[sink] = flow.to(sink);
        if (!cancelled) continue;
        const std::lock_guard lock(mutex);
        if (cancelled()) stopped = true;
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
      stopped = true;
    }
  };
  // Not at::parallel_for, which is serial unless its caller is compiled with OpenMP, and a second OpenMP library beside
  // LibTorch's own is asking for trouble.
  const auto threads = std::clamp<int64_t>(
      std::min({int64_t{at::get_num_threads()}, kFlowBytes / capacities.bytes(), tokens / 16}), 1, tokens);
  std::atomic<int64_t> next{0};
  const auto work = [&] {
    for (int64_t part = next++; part < threads; part = next++)
      compute(tokens * part / threads, tokens * (part + 1) / threads);
  };
  std::vector<std::thread> others;
  others.reserve(static_cast<size_t>(threads));
  try {
    for (int64_t i = 1; i < threads; ++i) others.emplace_back(work);
  } catch (const std::system_error&) {
    // The system gives no more threads: those that there are, at least this one, take all parts.
  }
  work();
  for (auto& thread : others) thread.join();
  if (error) std::rethrow_exception(error);
  if (stopped) throw EngineError("ABORTED", "The request was aborted.");
  return result;
}

}  // namespace

at::Tensor attention_flow(const std::vector<at::Tensor>& matrices, int64_t source,
                          const std::function<bool()>& cancelled) {
  if (matrices.empty()) throw EngineError("INTERNAL", "attention flow needs the attention of at least one block");
  const auto batch = matrices[0].size(0), tokens = matrices[0].size(1);
  std::vector<at::Tensor> rows;
  for (const auto& matrix : matrices) {
    if (matrix.sizes() != at::IntArrayRef{batch, tokens, tokens}) {
      throw EngineError("INTERNAL", "attention flow needs square matrices of one size, block by block");
    }
    rows.push_back(matrix.detach().to(at::kFloat));
  }
  // Fetched together: each fetch waits for the device.
  const auto fetched = rows[0].is_cpu() ? at::Tensor() : at::stack(rows).cpu();
  std::vector<at::Tensor> on_cpu;
  for (size_t block = 0; block < rows.size(); ++block)
    on_cpu.push_back(fetched.defined() ? fetched[static_cast<int64_t>(block)] : rows[block].contiguous());
  if (source < 0 || source >= tokens) {
    throw EngineError("INTERNAL", "there is no token " + std::to_string(source) + " among " + std::to_string(tokens));
  }
  std::vector<at::Tensor> results;
  for (int64_t image = 0; image < batch; ++image) {
    std::vector<const float*> blocks;
    for (const auto& matrix : on_cpu) blocks.push_back(matrix.data_ptr<float>() + image * tokens * tokens);
    results.push_back(flows(LayeredCapacities(blocks, tokens), source, cancelled));
  }
  return upload(at::stack(results).to(at::kFloat), matrices[0].device());
}

}  // namespace sightline
