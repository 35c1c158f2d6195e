// The archives of test/parity, each with a size that it takes.
#pragma once

#include "engine/errors.h"
#include "engine/model.h"

namespace sightline::test {

struct Archive {
  std::string name;
  int64_t height, width;
  bool is_quantised;

  std::string path() const;
  bool is(const char* part) const { return name.find(part) != std::string::npos; }
  // Seeded noise, [batch, 3, height, width].
  at::Tensor images(int64_t batch, uint64_t seed = 7) const;
  std::unique_ptr<Model> load() const;
};

// Every archive that the engine can run, in the order of their names. Fails when there are fewer than the repository has.
const std::vector<Archive>& archives();
const Archive& archive(const std::string& name);

// What torch::jit itself makes of it, on the plain executor.
at::Tensor forward(const Archive& archive, const at::Tensor& images);

// The largest difference, relative to the largest expected value.
double relative_difference(const at::Tensor& found, const at::Tensor& expected);

// The tensors that a module holds: parameters, and buffers.
torch::jit::Module module_of(const Model& model);

// Runs `work`, which must throw an EngineError; returns it.
EngineError thrown_by(const std::function<void()>& work);

}  // namespace sightline::test
