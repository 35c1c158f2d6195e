// How far apart two right answers may lie, as test/support/rounding.ts has it: processors differ in the order of sums.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>

namespace sightline::test {

// What float32 rounds a number by, at most, of its size: half of the last of 24 bits. What is computed in float64 and
// lies farther off than this is wrong: float64 rounds 2^29 times finer.
inline constexpr double kRoundoff = 0x1p-24;

using Answer = std::function<at::Tensor(const at::Tensor& images)>;

// Fails where values lie farther from those expected than rounding explains, of the largest one: `operators` numbers are
// rounded one after the other, there and back, and what that adds up to grows as `answer` moves farther than its images,
// when these are moved by a few roundings. Where this leaves the worst place open, the middle of all places is compared.
void expect_rounded(const at::Tensor& found, const at::Tensor& expected, int64_t operators, const at::Tensor& images,
                    const Answer& answer, const std::string& what);

}  // namespace sightline::test
