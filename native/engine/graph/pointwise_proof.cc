#include "engine/graph/pointwise_proof.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/where.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Node;
using torch::jit::Value;

namespace {

// Of two entries, a round changes just one with a chance of a half: few entries take more rounds.
constexpr int64_t kFewEntries = 4096;
constexpr int kRoundsOfFew = 24, kRounds = 3;

// What the operator's other inputs are, or random numbers of their sizes; none where that is not known.
std::optional<torch::jit::Stack> other_inputs(const Node* node, const Value* moved, const at::Generator& generator) {
  torch::jit::Stack stack;
  for (const Value* input : node->inputs()) {
    const auto constant = constant_of(input);
    if (input == moved) {
      stack.emplace_back();
    } else if (constant) {
      // A copy: an operator may write into its inputs, and constants share the weights' memory.
      stack.push_back(
          constant->isTensor() && constant->toTensor().defined()
              ? c10::IValue(constant->toTensor().to(at::kCPU, constant->toTensor().scalar_type(), false, true))
              : *constant);
    } else if (const auto sizes = recorded_sizes(input); sizes && recorded_dtype(input) == at::kFloat) {
      stack.emplace_back(at::randn(*sizes, generator, at::kFloat));
    } else {
      return std::nullopt;
    }
  }
  return stack;
}

}  // namespace

bool is_pointwise_by_run(const Node* node, const Value* moved) {
  const auto sizes = recorded_sizes(moved);
  const auto dtype = recorded_dtype(moved);
  const auto* schema = node->maybeSchema();
  if (!node->kind().is_aten() || schema == nullptr || node->outputs().size() != 1 || !sizes || !dtype ||
      !at::isFloatingType(*dtype))
    return false;
  if (recorded_sizes(node->output()) != sizes || c10::multiply_integers(*sizes) == 0) return false;
  const auto handle = c10::Dispatcher::singleton().findOp(schema->operator_name());
  if (!handle || handle->hasTag(at::Tag::nondeterministic_seeded)) return false;
  at::NoGradGuard no_gradients;
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(3);
  const auto others = other_inputs(node, moved, generator);
  if (!others) return false;
  const auto run = [&](const at::Tensor& numbers) {
    auto stack = *others;
    for (size_t i = 0; i < stack.size(); ++i) {
      if (node->input(i) == moved) stack[i] = numbers.clone();
    }
    node->getOperation()(stack);
    return stack.size() == 1 && stack[0].isTensor() ? stack[0].toTensor() : at::Tensor();
  };
  try {
    const auto numbers = at::randn(*sizes, generator, at::kFloat);
    const auto before = run(numbers);
    if (!before.defined() || before.sizes() != numbers.sizes()) return false;
    for (int round = 0; round < (numbers.numel() < kFewEntries ? kRoundsOfFew : kRounds); ++round) {
      const auto is_changed = at::rand(*sizes, generator, at::kFloat) < 0.5;
      const auto after = run(at::where(is_changed, at::randn(*sizes, generator, at::kFloat), numbers));
      if (!(is_changed | (after == before) | (at::isnan(after) & at::isnan(before))).all().item<bool>()) return false;
    }
    return true;
  } catch (const std::exception&) {
    return false;  // numbers of another kind than it takes: nothing is learnt of it
  }
}

}  // namespace sightline
