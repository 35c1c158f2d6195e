#include "archives.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <torch/csrc/jit/python/update_graph_executor_opt.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <filesystem>

#include "engine/errors.h"
#include "runner.h"

namespace sightline::test {

namespace {

// The size of each family's exports; exports.py and archives_only.py say why they are what they are.
std::pair<int64_t, int64_t> size_of(const std::string& name) {
  static const std::vector<std::pair<std::string, std::pair<int64_t, int64_t>>> sizes = {
      {"conv-net", {32, 48}},
      {"mlp", {8, 8}},
      {"quantised-dynamic", {8, 8}},
      {"quantised-static", {32, 48}},
      {"resnet-basic", {48, 80}},
      {"transformers-resnet", {48, 80}},
      {"resnet", {32, 48}},
      {"torchvision-vit", {32, 32}},
      {"transformers-dinov2-registers", {32, 32}},
      {"transformers-dinov2-traced", {32, 40}},
  };
  for (const auto& [part, size] : sizes) {
    if (name.find(part) != std::string::npos) return size;
  }
  return {24, 40};
}

}  // namespace

std::string Archive::path() const { return archives_folder() + "/" + name + ".pt"; }

at::Tensor Archive::images(int64_t batch, uint64_t seed) const {
  return at::randn({batch, 3, height, width}, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat);
}

std::unique_ptr<Model> Archive::load() const {
  LoadOptions options;
  options.path = path();
  options.device = "cpu";
  return std::make_unique<Model>(options, at::kCPU);
}

const std::vector<Archive>& archives() {
  static const auto* all = [] {
    auto* found = new std::vector<Archive>;
    for (const auto& entry : std::filesystem::directory_iterator(archives_folder())) {
      const auto name = entry.path().stem().string();
      // Not a model of one image; a test of its own. Nor those that return no class scores, which have no logits.
      if (entry.path().extension() != ".pt" || name == "two-inputs" || name.rfind("linear-", 0) == 0) continue;
      const auto [height, width] = size_of(name);
      found->push_back({name, height, width, name.rfind("quantised", 0) == 0});
    }
    std::sort(found->begin(), found->end(), [](const Archive& a, const Archive& b) { return a.name < b.name; });
    return found;
  }();
  EXPECT(all->size() >= 34, "the archives of test/parity are missing from ", archives_folder());
  return *all;
}

const Archive& archive(const std::string& name) {
  for (const auto& each : archives()) {
    if (each.name == name) return each;
  }
  fail_at(__FILE__, __LINE__, "there is no archive ", name);
}

at::Tensor forward(const Archive& archive, const at::Tensor& images) {
  // The profiling executor would specialise, and drop gradients.
  torch::jit::setGraphExecutorOptimize(false);
  auto module = torch::jit::load(archive.path(), at::kCPU);
  module.eval();
  auto result = module.forward({images});
  if (result.isTuple()) result = result.toTuple()->elements().at(0);
  if (result.isGenericDict()) result = result.toGenericDict().at("logits");
  return result.toTensor();
}

double relative_difference(const at::Tensor& found, const at::Tensor& expected) {
  EXPECT(found.sizes() == expected.sizes(), found.sizes(), " against ", expected.sizes());
  const auto difference = (found - expected).abs().max().item<double>();
  return difference / std::max(expected.abs().max().item<double>(), 1e-12);
}

torch::jit::Module module_of(const Model& model) { return torch::jit::Module(model.self().toObject()); }

EngineError thrown_by(const std::function<void()>& work) {
  try {
    work();
  } catch (const EngineError& error) {
    return error;
  }
  fail_at(__FILE__, __LINE__, "nothing was thrown");
}

}  // namespace sightline::test
