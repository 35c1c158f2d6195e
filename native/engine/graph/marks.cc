#include "engine/graph/marks.h"

#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

std::vector<NamedValue> resolve_marks(Graph& graph, const std::unordered_set<const Node*>& untrue) {
  // Of the latest call of a path: the last element of its tuple seen so far, and whether one of them has the path as its name.
  struct Call {
    int64_t last_element = std::numeric_limits<int64_t>::max();
    bool is_named = false;
  };
  std::vector<NamedValue> nodes;
  std::unordered_map<std::string, Call> latest;
  std::unordered_map<std::string, int> calls;
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = *it++;
    if (node->kind() != mark_symbol()) continue;
    const std::string path = constant_of(node->input(1))->toStringRef();
    const int64_t element = constant_of(node->input(2))->toInt();
    Call& call = latest[path];
    if (element <= call.last_element) call = {};
    call.last_element = element;
    Value* value = node->input(0);
    // The mark's type was recorded by tracing; the marked value's may be that of an untyped unpacking.
    if (!recorded_sizes(value)) value->setType(node->output()->type());
    node->output()->replaceAllUsesWith(value);
    const auto sizes = recorded_sizes(value);
    // A traced module returns the sizes that it has computed as well, each a tensor of no dimension: no image's values.
    const bool is_whole_number = sizes && sizes->empty();
    if (!is_whole_number) {
      std::string name = call.is_named ? path + "[" + std::to_string(element) + "]" : path;
      call.is_named = true;
      const int number = calls[name]++;
      if (number > 0) name += ":" + std::to_string(number);
      if (untrue.count(node) == 0) nodes.push_back({name, value});
    }
    node->destroy();
  }
  return nodes;
}

std::vector<NamedValue> structural_names(Graph& graph) {
  static const std::vector<std::pair<const char*, const char*>> kinds = {{"_convolution", "conv"},
                                                                         {"conv2d", "conv"},
                                                                         {"batch_norm", "norm"},
                                                                         {"layer_norm", "norm"},
                                                                         {"group_norm", "norm"},
                                                                         {"linear", "linear"},
                                                                         {"relu", "relu"},
                                                                         {"gelu", "gelu"},
                                                                         {"silu", "silu"},
                                                                         {"max_pool2d", "pool"},
                                                                         {"adaptive_avg_pool2d", "pool"}};
  std::vector<NamedValue> nodes;
  std::unordered_map<std::string, int> seen;
  for (Node* node : graph.nodes()) {
    if (node->outputs().size() != 1) continue;
    std::string kind;
    for (const auto& [op, label] : kinds) {
      if (is_aten(node, op)) kind = label;
    }
    // A sum of two activations is a residual connection: the blocks of both families end there.
    if (is_aten(node, "add") && is_tensor(node->input(1)) && !constant_of(node->input(0)) &&
        !constant_of(node->input(1))) {
      const auto sizes = recorded_sizes(node->output());
      if (sizes && sizes->size() >= 3) kind = "residual";
    }
    if (kind.empty()) continue;
    nodes.push_back({kind + "[" + std::to_string(seen[kind]++) + "]", node->output()});
  }
  return nodes;
}

void forget_dead_names(const Graph& graph, std::vector<NamedValue>& nodes) {
  std::unordered_set<const Value*> alive{graph.inputs().begin(), graph.inputs().end()};
  for (const Node* node : graph.nodes()) alive.insert(node->outputs().begin(), node->outputs().end());
  std::erase_if(nodes, [&](const NamedValue& node) { return alive.count(node.value) == 0; });
}

}  // namespace sightline
