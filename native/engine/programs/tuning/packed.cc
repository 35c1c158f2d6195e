#include "engine/graph/convolution_node.h"
#include "engine/graph/graph_ops.h"
#include "engine/programs/tuning/packed_linear.h"
#include "engine/programs/tuning/packed_operators.h"
#include "engine/programs/tuning/tuning.h"

#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <sstream>

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

// The one node that reads a value, if it is of this kind and the value is its first input.
Node* only_reader(const Value* value, const char* kind) {
  if (value->uses().size() != 1) return nullptr;
  const auto use = value->uses()[0];
  return is_aten(use.user, kind) && use.offset == 0 ? use.user : nullptr;
}

bool are_alike(const Value* a, const Value* b) {
  const auto one = recorded_sizes(a), other = recorded_sizes(b);
  return one && other && *one == *other && recorded_dtype(a) == recorded_dtype(b);
}

class Packer {
 public:
  Packer(Graph& graph, const std::unordered_set<const Value*>& recorded, at::ScalarType dtype, PreparedWeights& weights)
      : graph_(graph), recorded_(recorded), dtype_(dtype), weights_(weights) {}

  void run() {
    for (auto it = graph_.nodes().begin(); it != graph_.nodes().end();) {
      Node* node = *it++;
      if (node->outputs().size() != 1 || recorded_.count(node->output()) != 0) continue;
      if (const auto convolution = read_convolution(node)) pack(node, *convolution);
      if (is_aten(node, "linear") && outruns_linear(dtype_)) pack_linear_layer(node);
    }
    // What was replaced and taken in goes now: the walk must not stand on a destroyed node.
    torch::jit::EliminateDeadCode(graph_.block());
  }

 private:
  bool is_plain(const Node* node) const { return node != nullptr && recorded_.count(node->output()) == 0; }

  void pack(Node* node, const ConvolutionNode& convolution) {
    const auto sizes = recorded_sizes(convolution.input);
    if (convolution.weight.scalar_type() != dtype_ || !sizes || sizes->size() != 4) return;
    Node* last = node;
    Value* add = nullptr;
    Node* sum = sum_behind(node->output(), add);
    if (sum != nullptr) last = sum;
    Node* relu = only_reader(last->output(), "relu");
    const bool has_relu = is_plain(relu);
    if (has_relu) last = relu;

    const auto how = "packed convolution " + describe(convolution, *sizes);
    const auto packed = weights_.get(how, {convolution.weight}, [&] {
      auto input = *sizes;
      input[0] = kPackedImages;
      return pack_convolution(convolution.weight, convolution.stride, convolution.padding, convolution.dilation,
                              convolution.groups, input);
    });
    WithInsertPoint point(last);
    const auto none = [&] { return graph_.insertConstant(c10::IValue()); };
    Value* output =
        graph_.insert(packed_convolution_symbol(),
                      {convolution.input, insert_packed(graph_, packed), node->input(2), add != nullptr ? add : none(),
                       c10::IValue(convolution.stride), c10::IValue(convolution.padding),
                       c10::IValue(convolution.dilation), convolution.groups, has_relu});
    output->setType(last->output()->type());
    last->output()->replaceAllUsesWith(output);
  }

  // `value + add`, where the other summand is there by then.
  Node* sum_behind(const Value* value, Value*& add) {
    if (value->uses().size() != 1) return nullptr;
    const auto use = value->uses()[0];
    Node* sum = use.user;
    if (!is_aten(sum, "add") || sum->inputs().size() < 3 || use.offset > 1 || !is_plain(sum)) return nullptr;
    const auto alpha = constant_of(sum->input(2));
    Value* other = sum->input(1 - use.offset);
    if (!alpha || !alpha->isInt() || alpha->toInt() != 1 || !is_tensor(other) || other == value ||
        !are_alike(value, other))
      return nullptr;
    // The operator takes the place of the sum, so the other summand is computed before it in any case.
    add = other;
    return sum;
  }

  void pack_linear_layer(Node* node) {
    const auto layer = read_packable_linear(node, dtype_);
    if (!layer) return;
    Node* last = node;
    std::string activation = "none";
    if (Node* gelu = only_reader(node->output(), "gelu"); is_plain(gelu)) {
      const auto approximate = constant_of(gelu->input(1));
      if (approximate && approximate->isString()) {
        activation = approximate->toStringRef() == "tanh" ? "gelu-tanh" : "gelu";
        last = gelu;
      }
    } else if (Node* relu = only_reader(node->output(), "relu"); is_plain(relu)) {
      activation = "relu";
      last = relu;
    }
    WithInsertPoint point(last);
    Value* output = graph_.insert(packed_linear_symbol(), {node->input(0), insert_packed(graph_, layer->pack(weights_)),
                                                           node->input(2), activation});
    output->setType(last->output()->type());
    last->output()->replaceAllUsesWith(output);
  }

  static std::string describe(const ConvolutionNode& convolution, const std::vector<int64_t>& sizes) {
    std::ostringstream text;
    text << convolution.stride << convolution.padding << convolution.dilation << convolution.groups << sizes;
    return text.str();
  }

  Graph& graph_;
  const std::unordered_set<const Value*>& recorded_;
  at::ScalarType dtype_;
  PreparedWeights& weights_;
};

}  // namespace

void pack_operators(Graph& graph, const std::unordered_set<const Value*>& recorded, at::ScalarType dtype,
                    PreparedWeights& weights) {
  if (has_packed_operators(dtype)) Packer(graph, recorded, dtype, weights).run();
}

}  // namespace sightline
