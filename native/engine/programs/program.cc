#include "engine/programs/program.h"

#include <c10/core/GradMode.h>

#include "engine/cancel_points.h"
#include "engine/errors.h"
#include "engine/programs/precision.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;

namespace {

int64_t count_operators(const Graph& graph) {
  int64_t count = 0;
  for (const Node* node : graph.nodes()) {
    // Packed weights are constants too, of a kind of their own.
    if (node->kind() != c10::prim::Constant && !node->inputs().empty()) ++count;
  }
  return count;
}

std::shared_ptr<Graph> with_cancel_points(std::shared_ptr<Graph> graph) {
  insert_cancel_points(*graph);
  return graph;
}

}  // namespace

GraphCode::GraphCode(std::shared_ptr<Graph> graph)
    : graph_(with_cancel_points(std::move(graph))), code_(graph_, "sightline"), operators_(count_operators(*graph_)) {}

std::vector<at::Tensor> GraphCode::run(std::vector<c10::IValue> inputs, bool records_gradients) const {
  at::AutoGradMode mode(records_gradients);
  torch::jit::Stack stack(std::move(inputs));
  torch::jit::InterpreterState(code_).run(stack);
  std::vector<at::Tensor> outputs;
  outputs.reserve(stack.size());
  for (auto& value : stack) outputs.push_back(value.toTensor());
  return outputs;
}

Program::Program(std::shared_ptr<Graph> graph, bool records_gradients, int64_t activation_bytes, bool is_widened)
    : code_(std::move(graph)),
      records_gradients_(records_gradients),
      activation_bytes_(activation_bytes),
      is_widened_(is_widened) {}

Program::Program(std::shared_ptr<Graph> before, std::shared_ptr<Graph> after, bool records_gradients,
                 int64_t activation_bytes)
    : before_(std::in_place, std::move(before)),
      code_(std::move(after)),
      records_gradients_(records_gradients),
      activation_bytes_(activation_bytes) {}

std::vector<at::Tensor> Program::run(const c10::IValue& self, const at::Tensor& images, bool keeps_graph) const {
  return code_.run({self, is_widened_ ? in_float32(images) : images}, records_gradients_ || keeps_graph);
}

std::vector<at::Tensor> Program::run_before(const c10::IValue& self, const at::Tensor& images) const {
  return before_->run({self, images}, false);
}

std::vector<at::Tensor> Program::run_after(const c10::IValue& self, const std::vector<at::Tensor>& before,
                                           int64_t images, const std::vector<at::Tensor>& values,
                                           bool keeps_graph) const {
  std::vector<c10::IValue> inputs{self};
  for (const auto& value : values) inputs.push_back(in_float32(value));
  const auto samples = values.at(0).size(0) / images;
  for (const auto& tensor : before) {
    if (tensor.dim() == 0 || tensor.size(0) % images != 0) {
      throw EngineError("METHOD_NOT_APPLICABLE", "A value of the model that is needed again has no batch axis.");
    }
    // Windows stand beside their image: rows are repeated image by image.
    const auto wide = in_float32(tensor);
    inputs.push_back(
        samples == 1 ? wide
                     : wide.unflatten(0, {images, wide.size(0) / images}).repeat_interleave(samples, 0).flatten(0, 1));
  }
  return code_.run(std::move(inputs), records_gradients_ || keeps_graph);
}

}  // namespace sightline
