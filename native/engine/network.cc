#include "engine/network.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/shape_analysis.h>

#include "engine/errors.h"
#include "engine/graph_ops.h"
#include "engine/inspection.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

constexpr size_t kLogitsOutput = 0;

bool depends_on(const Value* value, const std::unordered_set<const Value*>& sources,
                std::unordered_map<const Value*, bool>& known) {
  // Iterative: a recursion as deep as a 24-block ViT's graph would need a large stack.
  std::vector<const Value*> stack{value};
  while (!stack.empty()) {
    const Value* current = stack.back();
    if (known.count(current) != 0) {
      stack.pop_back();
      continue;
    }
    bool ready = true, depends = false;
    for (const Value* input : current->node()->inputs()) {
      if (sources.count(input) != 0) {
        depends = true;
        continue;
      }
      const auto found = known.find(input);
      if (found == known.end()) {
        stack.push_back(input);
        ready = false;
      } else {
        depends = depends || found->second;
      }
    }
    if (!ready && !depends) continue;
    known[current] = depends;
    if (stack.back() == current) stack.pop_back();
  }
  return known[value];
}

// Makes `value` the leaf that gradients are taken with respect to: nothing before it is recorded.
Value* insert_leaf(Graph& graph, Value* value) {
  Node* node = graph.create(leaf_symbol(), {value});
  node->output()->setType(c10::TensorType::get());
  if (value->node()->kind() == c10::prim::Param) {
    graph.prependNode(node);
  } else {
    node->insertAfter(value->node());
  }
  value->replaceAllUsesAfterNodeWith(node, node->output());
  return node->output();
}

// Puts a reshaping and its reverse behind `value` and returns what lies between: the tensor in the shape in which it is
// shown, on the way to everything that reads it, so that gradients can be taken with respect to it.
template <typename There, typename Back>
Value* detour(Value* value, There there, Back back) {
  WithInsertPoint point(value->node()->next());
  Value* shown = there(value);
  Value* restored = back(shown);
  value->replaceAllUsesAfterNodeWith(restored->node(), restored);
  return shown;
}

Value* insert_aten(Graph& graph, const char* name, at::ArrayRef<torch::jit::NamedValue> inputs) {
  return graph.insert(c10::Symbol::fromQualString(std::string("aten::") + name), inputs);
}

// The class scores in what the archive's own forward returns.
at::Tensor logits_of(const c10::IValue& output) {
  if (output.isTensor()) return output.toTensor();
  std::vector<c10::IValue> parts;
  if (output.isTuple()) parts = output.toTuple()->elements().vec();
  if (output.isGenericDict()) {
    for (const auto& entry : output.toGenericDict()) {
      if (entry.key().isString() && entry.key().toStringRef() == "logits") return entry.value().toTensor();
      parts.push_back(entry.value());
    }
  }
  for (const auto& part : parts) {
    if (part.isTensor() && part.toTensor().dim() == 2) return part.toTensor();
  }
  return {};
}

int64_t count_operators(const Graph& graph) {
  int64_t count = 0;
  for (const Node* node : graph.nodes()) {
    if (node->kind() != c10::prim::Constant) ++count;
  }
  return count;
}

}  // namespace

Program::Program(std::shared_ptr<Graph> graph, bool records_gradients)
    : graph_(std::move(graph)),
      code_(graph_, "sightline"),
      records_gradients_(records_gradients),
      operators_(count_operators(*graph_)) {}

std::vector<at::Tensor> Program::run(const c10::IValue& self, const at::Tensor& images) const {
  at::AutoGradMode mode(records_gradients_);
  torch::jit::Stack stack{self, images};
  torch::jit::InterpreterState(code_).run(stack);
  std::vector<at::Tensor> outputs;
  outputs.reserve(stack.size());
  for (auto& value : stack) outputs.push_back(value.toTensor());
  return outputs;
}

Network::Network(const torch::jit::Module& module, const at::Tensor& example) {
  StraightGraph straight = straighten(module, example);
  int64_t unknown_attention = 0;
  sites_ = find_attention(straight, unknown_attention);
  info_ = inspect_graph(straight, sites_, example.size(2), example.size(3));
  info_.unknown_attention = unknown_attention;
  dtype_ = example.scalar_type();

  // Everything that can be tapped becomes an output, so that a copy of the graph can find it again by its position.
  // Nothing is mutated any more, so outputs do not hold anything back.
  master_ = straight.graph;
  for (const auto& node : straight.nodes) {
    node_outputs_.emplace(node.name, master_->outputs().size());
    master_->registerOutput(node.value);
  }
  for (const auto& site : sites_) {
    std::array<size_t, 4> positions{};
    const std::array<Value*, 4> values{site.query, site.key, site.value, site.result};
    for (size_t i = 0; i < values.size(); ++i) {
      positions[i] = master_->outputs().size();
      master_->registerOutput(values[i]);
    }
    site_outputs_.push_back(positions);
    const Node* node = site.result->node();
    mask_dtypes_.push_back(site.form == AttentionSite::Form::ScaledDotProduct ? recorded_dtype(node->input(3))
                                                                              : std::nullopt);
  }
  // The sizes recorded for one image are not those of a batch.
  torch::jit::EraseShapeInformation(master_);
  prove(straight, module, example);
}

void Network::prove(const StraightGraph& straight, const torch::jit::Module& module, const at::Tensor& example) {
  at::NoGradGuard no_gradients;
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(1);
  const auto pair = at::randn({2, 3, example.size(2), example.size(3)}, generator, at::kFloat).to(example.options());
  const Program straightened(master_->copy(), false);
  const torch::jit::Code original(straight.original->copy(), "original");
  const auto run_original = [&](const at::Tensor& images) {
    torch::jit::Stack stack{module._ivalue(), images};
    torch::jit::InterpreterState(original).run(stack);
    return logits_of(stack.back());
  };

  info_.can_batch = true;
  std::vector<at::Tensor> outputs;
  at::Tensor expected;
  try {
    outputs = straightened.run(module._ivalue(), pair);
    expected = run_original(pair);
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const std::exception&) {
    // Shapes of one image are written into the archive: it is run for one image at a time, and must work so.
    info_.can_batch = false;
    outputs = straightened.run(module._ivalue(), pair.narrow(0, 0, 1));
    expected = run_original(pair.narrow(0, 0, 1));
  }
  const auto& found = outputs[kLogitsOutput];
  const double tolerance = example.scalar_type() == at::kFloat ? 1e-3 : 0.1;
  const auto difference = (found.to(at::kFloat) - expected.to(at::kFloat)).abs().max().item<double>();
  if (!(difference <= tolerance * std::max(1e-6, expected.to(at::kFloat).abs().max().item<double>()))) {
    throw EngineError("UNSUPPORTED_MODEL",
                      "The model's forward takes different ways for different pixels (an `if` or a loop on tensor values, or "
                      "randomness), so its graph cannot be read once for all; export it with torch.jit.trace after .eval().");
  }
  if (!info_.can_batch) return;
  for (auto& node : info_.nodes) {
    const auto sizes = outputs[node_outputs_.at(node.name)].sizes().vec();
    auto doubled = node.sizes;
    if (!doubled.empty()) doubled[0] *= 2;
    if (sizes == doubled) continue;
    without_batch_.insert(node.name);
    node.layout = Layout::Other;
    node.grid.reset();
    if (info_.target_layer == node.name) info_.target_layer.clear();
  }
}

const Program& Network::program(const std::vector<TapRequest>& requests) {
  // A server whose users choose the taps must not collect programs for ever.
  constexpr size_t kKeptPrograms = 64;
  if (programs_.size() > kKeptPrograms) programs_.clear();
  auto found = programs_.find(requests);
  if (found == programs_.end()) found = programs_.emplace(requests, build(requests)).first;
  return *found->second;
}

std::unique_ptr<Program> Network::build(const std::vector<TapRequest>& requests) const {
  auto graph = master_->copy();
  const auto outputs = [&](size_t position) { return graph->outputs()[position]; };

  std::vector<Value*> taps;
  std::map<int64_t, Value*> opened;
  for (const auto& request : requests) {
    const Tap& tap = request.tap;
    if (tap.kind == Tap::Kind::Logits) {
      taps.push_back(outputs(kLogitsOutput));
      continue;
    }
    if (tap.kind == Tap::Kind::Image) {
      taps.push_back(graph->inputs()[1]);
      continue;
    }
    if (tap.kind == Tap::Kind::Node) {
      const auto found = node_outputs_.find(tap.node);
      if (found == node_outputs_.end()) {
        throw EngineError("UNKNOWN_NODE", "The model has no node '" + tap.node + "'.");
      }
      if (without_batch_.count(tap.node) != 0) {
        throw EngineError("METHOD_NOT_APPLICABLE", "The node '" + tap.node +
                                                       "' cannot be tapped: its first axis is not the images'.");
      }
      taps.push_back(outputs(found->second));
      continue;
    }
    if (tap.site < 0 || tap.site >= static_cast<int64_t>(sites_.size())) {
      throw EngineError("UNKNOWN_NODE", "The model has " + std::to_string(sites_.size()) +
                                            " attention sites; there is no attention[" + std::to_string(tap.site) + "].");
    }
    const AttentionSite& site = sites_[tap.site];
    const auto& positions = site_outputs_[tap.site];
    if (tap.kind == Tap::Kind::Attention) {
      if (!site.opaque.empty()) {
        throw EngineError("METHOD_NOT_APPLICABLE", "The attention of '" + site.name + "' cannot be tapped: " + site.opaque + ".");
      }
      if (site.form == AttentionSite::Form::Softmax) {
        taps.push_back(outputs(positions[3]));
      } else {
        auto& probabilities = opened[tap.site];
        if (probabilities == nullptr) {
          probabilities = open_scaled_dot_product(*graph, outputs(positions[3])->node(), site.head_size,
                                                  mask_dtypes_[tap.site], dtype_);
        }
        taps.push_back(probabilities);
      }
    } else {
      const size_t which = tap.kind == Tap::Kind::Query ? 0 : tap.kind == Tap::Kind::Key ? 1 : 2;
      taps.push_back(outputs(positions[which]));
    }
    Value*& value = taps.back();
    if (tap.kind == Tap::Kind::Key && site.key_is_transposed) {
      const auto swap = [&](Value* x) { return insert_aten(*graph, "transpose", {x, -2, -1}); };
      value = detour(value, swap, swap);
    }
    if (site.folded) {
      const int64_t rows = tap.kind == Tap::Kind::Key || tap.kind == Tap::Kind::Value ? site.keys : site.tokens;
      const int64_t columns = tap.kind == Tap::Kind::Attention ? site.keys : site.head_size;
      value = detour(
          value,
          [&](Value* x) {
            return insert_aten(*graph, "reshape", {x, c10::IValue(std::vector<int64_t>{-1, site.heads, rows, columns})});
          },
          [&](Value* x) { return insert_aten(*graph, "flatten", {x, 0, 1}); });
    }
  }

  // One leaf at each tap that no other tap with a gradient comes before; a leaf on a later one would cut the flow to
  // the earlier. Equal values share their leaf.
  bool records_gradients = false;
  std::unordered_set<const Value*> sources;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (requests[i].with_gradient) sources.insert(taps[i]);
  }
  records_gradients = !sources.empty();
  std::unordered_map<const Value*, bool> known;
  std::unordered_map<Value*, Value*> leaves;
  std::vector<Value*> frontier;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (!requests[i].with_gradient || leaves.count(taps[i]) != 0) continue;
    if (!depends_on(taps[i], sources, known)) {
      leaves.emplace(taps[i], nullptr);
      frontier.push_back(taps[i]);
    }
  }
  for (Value* value : frontier) leaves[value] = insert_leaf(*graph, value);
  for (Value*& tap : taps) {
    const auto found = leaves.find(tap);
    if (found != leaves.end()) tap = found->second;
  }

  while (!graph->outputs().empty()) graph->eraseOutput(graph->outputs().size() - 1);
  for (Value* tap : taps) graph->registerOutput(tap);
  torch::jit::EliminateDeadCode(graph);
  torch::jit::ConstantPropagation(graph);
  torch::jit::EliminateDeadCode(graph);
  graph->lint();
  return std::make_unique<Program>(std::move(graph), records_gradients);
}

}  // namespace sightline
