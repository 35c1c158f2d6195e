#include "engine/graph/convolution_node.h"
#include "engine/graph/graph_ops.h"
#include "engine/programs/tuning/tuning.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <array>
#include <unordered_map>

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

struct BatchNorm {
  at::Tensor weight, bias, mean, variance;
  double epsilon;
};

std::optional<BatchNorm> read_batch_norm(const Node* node) {
  if (!is_aten(node, "batch_norm")) return std::nullopt;
  std::array<at::Tensor, 4> tensors;
  for (size_t i = 0; i < 4; ++i) {
    const auto constant = constant_of(node->input(1 + i));
    if (!constant || (!constant->isTensor() && !constant->isNone())) return std::nullopt;
    if (constant->isTensor()) tensors[i] = constant->toTensor();
  }
  const auto training = constant_of(node->input(5)), epsilon = constant_of(node->input(7));
  if (!training || training->toBool() || !epsilon || !tensors[2].defined() || !tensors[3].defined())
    return std::nullopt;
  return BatchNorm{tensors[0], tensors[1], tensors[2], tensors[3], epsilon->toDouble()};
}

// What a norm multiplies each channel by, in double: the product with the weights is rounded once.
at::Tensor scale_of(const BatchNorm& norm) {
  const auto scale = (norm.variance.to(at::kDouble) + norm.epsilon).rsqrt();
  return norm.weight.defined() ? scale * norm.weight.to(at::kDouble) : scale;
}

at::Tensor folded_weight(const ConvolutionNode& convolution, const BatchNorm& norm) {
  return (convolution.weight.to(at::kDouble) * scale_of(norm).view({-1, 1, 1, 1})).to(convolution.weight.scalar_type());
}

at::Tensor folded_bias(const ConvolutionNode& convolution, const BatchNorm& norm) {
  const auto before =
      convolution.bias.defined() ? convolution.bias.to(at::kDouble) : at::zeros_like(norm.mean, at::kDouble);
  const auto shifted = (before - norm.mean.to(at::kDouble)) * scale_of(norm);
  return (norm.bias.defined() ? shifted + norm.bias.to(at::kDouble) : shifted).to(convolution.weight.scalar_type());
}

}  // namespace

void fold_batch_norms(Graph& graph, PreparedWeights& weights) {
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = *it++;
    const auto norm = read_batch_norm(node);
    if (!norm || node->input(0)->uses().size() != 1) continue;
    Node* source = node->input(0)->node();
    const auto convolution = read_convolution(source);
    if (!convolution) continue;
    const std::vector<at::Tensor> sources{convolution->weight, convolution->bias, norm->mean,
                                          norm->variance,      norm->weight,      norm->bias};
    const auto epsilon = std::to_string(norm->epsilon * 1e12);
    const auto weight =
        weights.get("folded weight " + epsilon, sources, [&] { return folded_weight(*convolution, *norm); });
    const auto bias = weights.get("folded bias " + epsilon, sources, [&] { return folded_bias(*convolution, *norm); });
    WithInsertPoint point(source);
    source->replaceInput(1, graph.insertConstant(weight));
    source->replaceInput(2, graph.insertConstant(bias));
    source->output()->setType(node->output()->type());
    node->output()->replaceAllUsesWith(source->output());
    node->destroy();
  }
  torch::jit::EliminateDeadCode(graph.block());
}

bool free_of_strides(Graph& graph) {
  for (const Node* node : graph.nodes()) {
    if (is_any_of(node, {"as_strided", "view_as_complex", "set_", "resize_", "stride", "is_contiguous"})) return false;
    if (is_aten(node, "view") && !node->input(1)->type()->isSubtypeOf(*c10::ListType::ofInts()))
      return false;  // as another dtype
  }
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = *it++;
    const bool is_view = is_any_of(node, {"view", "_unsafe_view"});
    if (!is_view && !is_aten(node, "view_as")) continue;
    WithInsertPoint point(node);
    Value* reshaped =
        graph.insert(is_view ? c10::aten::reshape : c10::aten::reshape_as, {node->input(0), node->input(1)});
    reshaped->setType(node->output()->type());
    node->output()->replaceAllUsesWith(reshaped);
    node->destroy();
  }
  return true;
}

void lay_channels_last(Graph& graph, PreparedWeights& weights) {
  // A patch embedding alone is not worth it.
  constexpr int kLeast = 4;
  int count = 0;
  for (const Node* node : graph.nodes()) {
    if (read_convolution(node)) ++count;
  }
  if (count < kLeast) return;
  std::unordered_map<Value*, Value*> laid;
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = *it++;
    const auto convolution = read_convolution(node);
    if (!convolution) continue;
    WithInsertPoint point(node);
    if (!convolution->weight.is_contiguous(at::MemoryFormat::ChannelsLast)) {
      const auto weight = weights.get("channels last", {convolution->weight},
                                      [&] { return convolution->weight.contiguous(at::MemoryFormat::ChannelsLast); });
      node->replaceInput(1, graph.insertConstant(weight));
    }
    // Inputs of the graph come as they were made; from there on every operator keeps what it finds.
    if (convolution->input->node()->kind() != c10::prim::Param) continue;
    Value*& input = laid[convolution->input];
    if (input == nullptr) {
      input =
          graph.insert(c10::aten::contiguous, {convolution->input},
                       {torch::jit::NamedValue("memory_format", static_cast<int64_t>(at::MemoryFormat::ChannelsLast))});
      // Its size is asked for when the convolution is packed.
      input->setType(convolution->input->type());
    }
    node->replaceInput(0, input);
  }
}

}  // namespace sightline
