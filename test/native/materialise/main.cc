// materialise SKELETON.pt OUT.pt: fills a full-size archive without weights by the seed rule of test/parity/fullsize.py,
// so that 100 MB to 340 MB of weights need not lie in the repository.
#include <ATen/CPUGeneratorImpl.h>
#include <torch/script.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace {

struct Slot {
  std::string name;
  at::Tensor tensor;
};

void sort_by_name(std::vector<Slot>& slots) {
  std::sort(slots.begin(), slots.end(), [](const Slot& a, const Slot& b) { return a.name < b.name; });
}

// Parameters first, then float32 buffers, each sorted by name as bytes.
std::vector<Slot> seeded_slots(const torch::jit::Module& module) {
  std::vector<Slot> slots;
  for (const auto& [name, tensor] : module.named_parameters()) slots.push_back({name, tensor});
  sort_by_name(slots);
  std::vector<Slot> buffers;
  for (const auto& [name, tensor] : module.named_buffers()) {
    if (tensor.scalar_type() == at::kFloat) buffers.push_back({name, tensor});
  }
  sort_by_name(buffers);
  slots.insert(slots.end(), buffers.begin(), buffers.end());
  return slots;
}

at::Tensor seeded_value(uint64_t index, const std::string& name, at::IntArrayRef sizes) {
  const auto dot = name.rfind('.');
  const auto leaf = dot == std::string::npos ? name : name.substr(dot + 1);
  const auto uniform = at::rand(sizes, at::make_generator<at::CPUGeneratorImpl>(1000 + index), at::kFloat);
  const auto centred = uniform.sub(0.5).mul(2.0);
  if (leaf == "running_mean") return centred.mul(0.1);
  if (leaf == "running_var") return uniform.add(0.5);
  if (leaf == "class_token" || leaf == "cls_token" || leaf == "pos_embedding" || leaf == "pos_embed")
    return centred.mul(0.5);
  if (sizes.size() >= 2) {
    const double fan_in = static_cast<double>(uniform.numel()) / static_cast<double>(sizes[0]);
    return centred.mul(std::sqrt(3.0 / fan_in));
  }
  return leaf == "weight" ? centred.mul(0.1).add(1.0) : centred.mul(0.1);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::fprintf(stderr, "Usage: materialise SKELETON.pt OUT.pt\n");
    return 2;
  }
  try {
    const at::NoGradGuard no_gradients;
    auto module = torch::jit::load(arguments[1], at::kCPU);
    uint64_t index = 0;
    for (auto& slot : seeded_slots(module)) slot.tensor.set_data(seeded_value(index++, slot.name, slot.tensor.sizes()));
    module.save(arguments[2]);
    std::printf("%s: %llu tensors filled\n", arguments[2], static_cast<unsigned long long>(index));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", arguments[1], error.what());
    return 1;
  }
}
