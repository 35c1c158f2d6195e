// What is odd about a model's weights.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <string>
#include <vector>

namespace sightline {

// One sentence where parameters or buffers hold NaN or an infinity, naming the first few of them; else nothing. Reads
// every weight once, at the speed of memory.
std::vector<std::string> odd_weights(const torch::jit::Module& module);

}  // namespace sightline
