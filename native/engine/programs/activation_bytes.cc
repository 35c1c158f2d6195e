#include "engine/programs/activation_bytes.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

namespace {

bool shares_memory(const Node* node) {
  return is_any_of(node, {"view", "reshape", "transpose", "permute", "flatten", "unflatten", "select", "slice",
                          "unsqueeze", "squeeze", "expand", "t", "chunk", "split", "unbind", "detach"});
}

}  // namespace

int64_t bytes_of_run(const Graph& graph, bool keeps_all) {
  std::unordered_map<const Value*, const Node*> last_use;
  for (const Node* node : graph.nodes()) {
    for (const Value* input : node->inputs()) last_use[input] = node;
  }
  int64_t live = 0, most = 0;
  for (const Node* node : graph.nodes()) {
    if (node->kind() == c10::prim::Constant) continue;
    if (!shares_memory(node)) {
      for (const Value* output : node->outputs()) live += recorded_bytes(output);
    }
    most = std::max(most, live);
    if (keeps_all) continue;
    std::unordered_set<const Value*> ended;
    for (const Value* input : node->inputs()) {
      const Node* source = input->node();
      if (last_use[input] != node || source->kind() == c10::prim::Constant || source->kind() == c10::prim::Param)
        continue;
      if (!shares_memory(source) && ended.insert(input).second) live -= recorded_bytes(input);
    }
  }
  return most;
}

}  // namespace sightline
