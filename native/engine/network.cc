#include "engine/network.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/shape_analysis.h>

#include <algorithm>

#include "engine/cancel_points.h"
#include "engine/errors.h"
#include "engine/flops.h"
#include "engine/graph_ops.h"
#include "engine/inspection.h"
#include "engine/residual_stream.h"
#include "engine/tuning.h"

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

// How much brighter the second image of the proof is than the first.
constexpr double kBrighter = 4;

// Of all but the scores, what the proof compares will do: kept, the values of every layer would take more memory than the
// weights. Puts two outputs in the place of one: the value's sizes, and the norm and the sum of its first image.
void summarise(Graph& graph, size_t output) {
  Value* const value = graph.outputs()[output];
  if (output == kLogitsOutput) {
    graph.registerOutput(value);
    return;
  }
  WithInsertPoint point(value->node()->kind() == c10::prim::Param ? *graph.nodes().begin() : value->node()->next());
  graph.return_node()->replaceInput(output, insert_aten(graph, "_shape_as_tensor", {value}));
  graph.registerOutput(graph.insert(sketch_symbol(), {value}));
}

// Whether the first image's part of a value is the same with another image beside it, to rounding. `one`, `two`: its norm
// and its sum, alone and in company.
bool is_same_sketch(const at::Tensor& one, const at::Tensor& two, double numbers, double tolerance) {
  const auto* a = one.const_data_ptr<double>();
  const auto* b = two.const_data_ptr<double>();
  if (!std::isfinite(a[0]) || !std::isfinite(b[0])) return std::isfinite(a[0]) == std::isfinite(b[0]);
  const double size = std::max(a[0], 1e-12);
  // As many numbers, each wrong by the tolerance's part of their mean size, move the sum by so much at most.
  return std::abs(a[0] - b[0]) <= tolerance * size && std::abs(a[1] - b[1]) <= tolerance * size * std::sqrt(std::max(numbers, 1.0));
}

int64_t count_operators(const Graph& graph) {
  int64_t count = 0;
  for (const Node* node : graph.nodes()) {
    // Packed weights are constants too, of a kind of their own.
    if (node->kind() != c10::prim::Constant && !node->inputs().empty()) ++count;
  }
  return count;
}

bool shares_memory(const Node* node) {
  return is_any_of(node, {"view", "reshape", "transpose", "permute", "flatten", "unflatten", "select", "slice", "unsqueeze",
                          "squeeze", "expand", "t", "chunk", "split", "unbind", "detach"});
}

// What a run on one image takes: all values, or the most that live at once.
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
      if (last_use[input] != node || source->kind() == c10::prim::Constant || source->kind() == c10::prim::Param) continue;
      if (!shares_memory(source) && ended.insert(input).second) live -= recorded_bytes(input);
    }
  }
  return most;
}

std::unordered_set<const Value*> values_behind(Graph& graph, std::unordered_set<const Value*> behind) {
  for (const Node* node : graph.nodes()) {
    for (const Value* input : node->inputs()) {
      if (behind.count(input) == 0) continue;
      behind.insert(node->outputs().begin(), node->outputs().end());
      break;
    }
  }
  return behind;
}

void set_outputs(Graph& graph, const std::vector<Value*>& values) {
  while (!graph.outputs().empty()) graph.eraseOutput(graph.outputs().size() - 1);
  for (Value* value : values) graph.registerOutput(value);
  torch::jit::EliminateDeadCode(graph.block());
}

// The sizes recorded for one image are not those of a batch.
void finish(std::shared_ptr<Graph> graph) {
  torch::jit::EraseShapeInformation(graph);
  torch::jit::ConstantPropagation(graph);
  torch::jit::EliminateDeadCode(graph);
  graph->lint();
}

// Has a graph of reduced precision compute in float32, with the same weights: its inputs must come so. `weights`: where
// the wide ones are kept, if anywhere.
void widen(Graph& graph, PreparedWeights* weights) {
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = *it++;
    if (node->kind() == c10::prim::Constant) {
      const auto constant = constant_of(node->output());
      if (!constant || !constant->isTensor() || !at::isReducedFloatingType(constant->toTensor().scalar_type())) continue;
      WithInsertPoint point(node);
      const auto narrow = constant->toTensor();
      const auto to_float = [&] { return narrow.to(at::kFloat); };
      node->output()->replaceAllUsesWith(graph.insertConstant(weights ? weights->get("widened", {narrow}, to_float) : to_float()));
    } else if (is_aten(node, "to") && node->inputs().size() > 1) {
      const auto dtype = constant_of(node->input(1));
      if (!dtype || !dtype->isInt() || !at::isReducedFloatingType(dtype->toScalarType())) continue;
      WithInsertPoint point(node);
      node->replaceInput(1, graph.insertConstant(at::kFloat));
    }
  }
}

at::Tensor widened(const at::Tensor& x) {
  return at::isReducedFloatingType(x.scalar_type()) ? x.to(at::kFloat) : x;
}

// Cuts a graph, whose inputs from the third on are given values, in two: takes out what does not depend on them and gives
// it back as a graph of its own (inputs: module, image), whose outputs become further inputs. `seeds` belong behind the
// cut in any case.
std::shared_ptr<Graph> cut(const std::shared_ptr<Graph>& graph, std::vector<Value*>& taps, const std::vector<Value*>& seeds) {
  std::unordered_set<const Value*> starts(graph->inputs().begin() + 2, graph->inputs().end());
  starts.insert(seeds.begin(), seeds.end());
  const auto of_image = values_behind(*graph, {graph->inputs()[1]});
  auto behind = values_behind(*graph, starts);

  // What crosses the cut: tensors that depend on the image, so that the batch is their first axis. Sizes and whatever else
  // does not are computed again behind it: they may differ where there are more rows.
  std::vector<Value*> crossing;
  std::unordered_set<const Value*> crosses;
  std::vector<Value*> wanted(taps);
  for (Node* node : graph->nodes()) {
    if (node->outputs().empty() || behind.count(node->outputs()[0]) == 0) continue;
    wanted.insert(wanted.end(), node->inputs().begin(), node->inputs().end());
  }
  while (!wanted.empty()) {
    Value* value = wanted.back();
    wanted.pop_back();
    Node* source = value->node();
    if (behind.count(value) != 0 || crosses.count(value) != 0 || source->kind() == c10::prim::Constant) continue;
    if (value == graph->inputs()[0]) continue;
    const auto sizes = recorded_sizes(value);
    const bool is_number = source->kind() == c10::prim::NumToTensor || (sizes && sizes->empty());
    if (is_tensor(value) && !is_number && of_image.count(value) != 0) {
      crosses.insert(value);
      crossing.push_back(value);
      continue;
    }
    behind.insert(source->outputs().begin(), source->outputs().end());
    wanted.insert(wanted.end(), source->inputs().begin(), source->inputs().end());
  }

  for (Value* value : crossing) graph->registerOutput(value);
  auto before = graph->copy();
  const size_t first = before->outputs().size() - crossing.size();
  set_outputs(*before, {before->outputs().begin() + static_cast<std::ptrdiff_t>(first), before->outputs().end()});
  while (before->inputs().size() > 2) before->eraseInput(before->inputs().size() - 1);
  for (size_t i = 0; i < crossing.size(); ++i) {
    Value* input = graph->addInput()->setType(c10::TensorType::get());
    crossing[i]->replaceAllUsesWith(input);
    std::replace(taps.begin(), taps.end(), crossing[i], input);
  }
  set_outputs(*graph, taps);
  graph->eraseInput(1);
  return before;
}

}  // namespace

namespace {

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

Program::Program(std::shared_ptr<Graph> before, std::shared_ptr<Graph> behind, bool records_gradients, int64_t activation_bytes)
    : before_(std::in_place, std::move(before)),
      code_(std::move(behind)),
      records_gradients_(records_gradients),
      activation_bytes_(activation_bytes) {}

std::vector<at::Tensor> Program::run(const c10::IValue& self, const at::Tensor& images, bool keeps_graph) const {
  return code_.run({self, is_widened_ ? widened(images) : images}, records_gradients_ || keeps_graph);
}

std::vector<at::Tensor> Program::run_before(const c10::IValue& self, const at::Tensor& images) const {
  return before_->run({self, images}, false);
}

std::vector<at::Tensor> Program::run_behind(const c10::IValue& self, const std::vector<at::Tensor>& before, int64_t images,
                                            const std::vector<at::Tensor>& values, bool keeps_graph) const {
  std::vector<c10::IValue> inputs{self};
  for (const auto& value : values) inputs.push_back(widened(value));
  const auto samples = values.at(0).size(0) / images;
  for (const auto& tensor : before) {
    if (tensor.dim() == 0 || tensor.size(0) % images != 0) {
      throw EngineError("METHOD_NOT_APPLICABLE", "A value of the model that is needed again has no batch axis.");
    }
    // Windows stand beside their image: rows are repeated image by image.
    const auto wide = widened(tensor);
    inputs.push_back(samples == 1 ? wide
                                  : wide.unflatten(0, {images, wide.size(0) / images})
                                        .repeat_interleave(samples, 0)
                                        .flatten(0, 1));
  }
  return code_.run(std::move(inputs), records_gradients_ || keeps_graph);
}

Network::Network(const torch::jit::Module& module, const at::Tensor& example, std::shared_ptr<PreparedWeights> weights, const OutputChoice& choice)
    : device_(example.device()), weights_(std::move(weights)) {
  StraightGraph straight = straighten(module, example, choice);
  int64_t unknown_attention = 0;
  sites_ = find_attention(straight, unknown_attention);
  info_ = inspect_graph(straight, sites_, example.size(2), example.size(3));
  info_.unknown_attention = unknown_attention;
  info_.parameters = count_parameters(module, *straight.original, straight.is_quantized);
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
    const auto stream = find_residual_stream(site);
    std::array<size_t, 2> around{};
    if (stream.mixed != nullptr) {
      around = {master_->outputs().size(), master_->outputs().size() + 1};
      master_->registerOutput(stream.residual);
      master_->registerOutput(stream.mixed);
      info_.attention[site_outputs_.size() - 1].output_projection = stream.projection;
      info_.attention[site_outputs_.size() - 1].norm_weight = stream.norm_weight;
    }
    stream_outputs_.push_back(around);
    const Node* node = site.result->node();
    mask_dtypes_.push_back(site.form == AttentionSite::Form::ScaledDotProduct ? recorded_dtype(node->input(3))
                                                                              : std::nullopt);
  }
  master_->registerOutput(straight.returned);  // for the proof, which looks for it at the end
  prove(straight, module, example);
}

void Network::prove(const StraightGraph& straight, const torch::jit::Module& module, const at::Tensor& example) {
  at::NoGradGuard no_gradients;
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(1);
  // The second is much brighter: what the images have in common (a mean, a batch norm's statistics, the scale of a dynamic
  // quantisation) is then another for the first than it is alone.
  auto pair = at::randn({2, 3, example.size(2), example.size(3)}, generator, at::kFloat);
  pair[1].mul_(kBrighter).add_(1);
  pair = pair.to(example.options());
  auto copy = master_->copy();
  torch::jit::EraseShapeInformation(copy);
  const size_t values = copy->outputs().size();
  // Compared as it is returned: the archive's own forward gives no logits from before its softmax.
  Value* const returned = copy->outputs()[values - 1];
  for (size_t i = 0; i < values; ++i) summarise(*copy, i);
  copy->registerOutput(returned);
  const Program straightened(std::move(copy), false, 0, false);
  const auto first = pair.narrow(0, 0, 1);
  const torch::jit::Code original(straight.original->copy(), "original");
  const auto run_original = [&](const at::Tensor& images) {
    torch::jit::Stack stack{module._ivalue(), images};
    torch::jit::InterpreterState(original).run(stack);
    for (const auto& [name, tensor] : returned_tensors(stack.back())) {
      if (name == straight.output) return tensor;
    }
    throw EngineError("INTERNAL", "the archive's own forward does not return '" + straight.output + "'");
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
    outputs = straightened.run(module._ivalue(), first);
    expected = run_original(first);
  }
  // Weights that are NaN or infinite are told, not refused: both ways then give NaN, which equals nothing.
  const auto comparable = [](const at::Tensor& scores) { return scores.to(at::kFloat).nan_to_num(0.0, 0.0, 0.0); };
  const auto found = comparable(outputs.back());
  const auto wanted = comparable(expected);
  const double tolerance = example.scalar_type() == at::kFloat ? 1e-3 : 0.1;
  const auto difference = (found - wanted).abs().max().item<double>();
  if (!(difference <= tolerance * std::max(1e-6, wanted.abs().max().item<double>()))) {
    throw EngineError("UNSUPPORTED_MODEL",
                      "The model's forward takes different ways for different pixels (an `if` or a loop on tensor values, or "
                      "randomness), so its graph cannot be read once for all; export it with torch.jit.trace after .eval().");
  }
  if (!info_.can_batch) return;
  const auto alone = straightened.run(module._ivalue(), first);
  const auto scores = comparable(alone[kLogitsOutput]), in_company = comparable(outputs[kLogitsOutput]).narrow(0, 0, 1);
  info_.images_interact = !((scores - in_company).abs().max().item<double>() <= tolerance * std::max(1e-6, scores.abs().max().item<double>()));
  for (size_t i = 0; i < values && !info_.images_interact; ++i) {
    // A value whose first axis is not the batch has no part that is the first image's.
    if (i == kLogitsOutput || outputs[i].numel() == 0 || alone[i].numel() == 0 || outputs[i][0].item<int64_t>() != 2 * alone[i][0].item<int64_t>()) continue;
    const auto numbers = alone[i].prod().item<double>();
    info_.images_interact = !is_same_sketch(alone[values + i], outputs[values + i], numbers, tolerance);
  }
  if (info_.images_interact) info_.can_batch = false;
  for (auto& node : info_.nodes) {
    const auto shape = outputs[node_outputs_.at(node.name)];
    const std::vector<int64_t> sizes(shape.const_data_ptr<int64_t>(), shape.const_data_ptr<int64_t>() + shape.numel());
    auto doubled = node.sizes;
    if (!doubled.empty()) doubled[0] *= 2;
    if (sizes == doubled) continue;
    without_batch_.insert(node.name);
    node.layout = Layout::Other;
    node.grid.reset();
    if (info_.target_layer == node.name) info_.target_layer.clear();
  }
}

const Program& Network::program(const ProgramRequest& request) {
  // A server whose users choose the taps must not collect programs for ever.
  constexpr size_t kKeptPrograms = 64;
  auto found = programs_.find(request);
  if (found == programs_.end()) {
    auto program = build(request);
    if (programs_.size() >= kKeptPrograms) {
      programs_.erase(std::min_element(programs_.begin(), programs_.end(), [](const auto& a, const auto& b) { return a.second.used < b.second.used; }));
      if (weights_) weights_->drop_unused();
      ++generation_;
    }
    found = programs_.emplace(request, KeptProgram{std::move(program), 0}).first;
  }
  found->second.used = ++uses_;
  return *found->second.program;
}

// The tapped values, then the replaced ones, each in the shape in which it is shown.
std::vector<Value*> Network::find_taps(Graph& graph, const ProgramRequest& request) const {
  std::vector<Tap> asked;
  for (const auto& each : request.taps) asked.push_back(each.tap);
  asked.insert(asked.end(), request.replaces.begin(), request.replaces.end());
  const auto outputs = [&](size_t position) { return graph.outputs()[position]; };

  std::map<int64_t, Value*> opened;
  const auto open = [&](int64_t i) {
    const AttentionSite& site = sites_[i];
    Value* result = outputs(site_outputs_[i][3]);
    opened[i] = site.form == AttentionSite::Form::Softmax
                    ? result
                    : open_scaled_dot_product(graph, result->node(), site.head_size, mask_dtypes_[i], dtype_);
  };
  for (size_t i = 0; request.is_smooth && i < sites_.size(); ++i) {
    if (sites_[i].opaque.empty()) open(static_cast<int64_t>(i));
  }
  for (const Tap& tap : asked) {
    if (tap.kind < Tap::Kind::Attention) continue;
    if (tap.site < 0 || tap.site >= static_cast<int64_t>(sites_.size())) {
      throw EngineError("UNKNOWN_NODE", "The model has " + std::to_string(sites_.size()) +
                                            " attention sites; there is no attention[" + std::to_string(tap.site) + "].");
    }
    const AttentionSite& site = sites_[tap.site];
    if (tap.kind != Tap::Kind::Attention || opened.count(tap.site) != 0) continue;
    if (!site.opaque.empty()) {
      throw EngineError("METHOD_NOT_APPLICABLE", "The attention of '" + site.name + "' cannot be tapped: " + site.opaque + ".");
    }
    open(tap.site);
  }
  if (!request.rule.name.empty()) {
    const auto replaced = apply_rule(graph, request.rule);
    for (auto& [site, value] : opened) {
      const auto found = replaced.find(value);
      if (found != replaced.end()) value = found->second;
    }
  }

  std::vector<Value*> taps;
  for (const Tap& tap : asked) {
    if (tap.kind == Tap::Kind::Logits || tap.kind == Tap::Kind::Output) {
      taps.push_back(outputs(kLogitsOutput));
    } else if (tap.kind == Tap::Kind::Image) {
      taps.push_back(graph.inputs()[1]);
    } else if (tap.kind == Tap::Kind::Node) {
      const auto found = node_outputs_.find(tap.node);
      if (found == node_outputs_.end()) throw EngineError("UNKNOWN_NODE", "The model has no node '" + tap.node + "'.");
      if (without_batch_.count(tap.node) != 0) {
        throw EngineError("METHOD_NOT_APPLICABLE", "The node '" + tap.node +
                                                       "' cannot be tapped: its first axis is not the images'.");
      }
      taps.push_back(outputs(found->second));
    } else if (tap.kind == Tap::Kind::Residual || tap.kind == Tap::Kind::Mixed) {
      const auto& positions = stream_outputs_[tap.site];
      if (positions[0] == 0) {
        throw EngineError("METHOD_NOT_APPLICABLE", "The graph does not tell what the attention of '" + sites_[tap.site].name +
                                                       "' is added to.");
      }
      taps.push_back(outputs(positions[tap.kind == Tap::Kind::Residual ? 0 : 1]));
    } else if (tap.kind == Tap::Kind::Attention) {
      taps.push_back(opened.at(tap.site));
    } else {
      const size_t which = tap.kind == Tap::Kind::Query ? 0 : tap.kind == Tap::Kind::Key ? 1 : 2;
      taps.push_back(outputs(site_outputs_[tap.site][which]));
    }
  }

  // The same tap asked twice, to be read and to be replaced, is one value.
  std::map<Tap, Value*> shown;
  for (size_t i = 0; i < asked.size(); ++i) {
    const Tap& tap = asked[i];
    Value*& value = taps[i];
    if (tap.kind < Tap::Kind::Attention || tap.kind > Tap::Kind::Value) continue;
    if (const auto found = shown.find(tap); found != shown.end()) {
      value = found->second;
      continue;
    }
    const AttentionSite& site = sites_[tap.site];
    if (tap.kind == Tap::Kind::Key && site.key_is_transposed) {
      const auto swap = [&](Value* x) { return insert_aten(graph, "transpose", {x, -2, -1}); };
      value = detour(value, swap, swap);
    }
    if (site.folded) {
      const int64_t rows = tap.kind == Tap::Kind::Key || tap.kind == Tap::Kind::Value ? site.keys : site.tokens;
      const int64_t columns = tap.kind == Tap::Kind::Attention ? site.keys : site.head_size;
      value = detour(
          value,
          [&](Value* x) {
            return insert_aten(graph, "reshape", {x, c10::IValue(std::vector<int64_t>{-1, site.heads, rows, columns})});
          },
          [&](Value* x) { return insert_aten(graph, "flatten", {x, 0, 1}); });
    }
    shown.emplace(tap, value);
  }
  return taps;
}

// `seeds`: the values from which on gradients are recorded.
void Network::tune(Graph& graph, const std::vector<Value*>& seeds, at::ScalarType dtype, const ProgramRequest& request) const {
  if (!weights_ || info_.is_quantized || !request.rule.name.empty()) return;
  fold_batch_norms(graph, *weights_);
  straighten_linear_inputs(graph);
  if (!free_of_strides(graph)) return;
  // On a GPU the tensor cores want it, which compute in reduced precision.
  if (device_.is_cpu() || at::isReducedFloatingType(dtype)) lay_channels_last(graph, *weights_);
  if (device_.is_cpu()) pack_operators(graph, values_behind(graph, {seeds.begin(), seeds.end()}), dtype, *weights_);
}

std::unique_ptr<Program> Network::build(const ProgramRequest& request) const {
  auto graph = master_->copy();
  const auto& requests = request.taps;
  auto taps = find_taps(*graph, request);
  std::vector<Value*> replaced(taps.begin() + static_cast<std::ptrdiff_t>(requests.size()), taps.end());
  taps.resize(requests.size());

  for (Value* value : replaced) {
    Value* given = graph->addInput()->setType(c10::TensorType::get());
    value->replaceAllUsesWith(given);
    std::replace(taps.begin(), taps.end(), value, given);
    std::replace(replaced.begin(), replaced.end(), value, given);
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
  std::vector<Value*> seeds;
  for (Value* value : frontier) {
    leaves[value] = insert_leaf(*graph, value);
    seeds.push_back(leaves[value]);
  }
  for (Value*& tap : taps) {
    const auto found = leaves.find(tap);
    if (found != leaves.end()) tap = found->second;
  }

  set_outputs(*graph, taps);
  // A rule is written for the operators as they were exported.
  if (weights_ && request.rule.name.empty()) {
    straighten_layouts(*graph);
    narrow_tokens(*graph);
  }
  std::shared_ptr<Graph> before;
  if (!replaced.empty()) before = cut(graph, taps, seeds);
  int64_t bytes = bytes_of_run(*graph, records_gradients);
  for (const auto& [tap, with_gradient] : requests) {
    // Attention that was opened here has no recorded size: scores, probabilities and their gradient.
    if (tap.kind != Tap::Kind::Attention || sites_[tap.site].form == AttentionSite::Form::Softmax) continue;
    const AttentionSite& site = sites_[tap.site];
    bytes += (with_gradient ? 3 : 1) * 4 * site.windows * site.heads * site.tokens * site.keys;
  }
  // What a replaced value changes, and relevance that is divided by what it came from, drown in the rounding of bf16.
  const bool is_widened = at::isReducedFloatingType(*dtype_) && (before || request.rule.name == "lrp");
  if (is_widened) widen(*graph, weights_.get());
  const auto inputs = graph->inputs().slice(1);
  if (request.keeps_graph) seeds.insert(seeds.end(), inputs.begin(), inputs.end());
  tune(*graph, seeds, is_widened ? at::kFloat : *dtype_, request);
  if (before) tune(*before, {}, *dtype_, request);
  finish(graph);
  if (!before) return std::make_unique<Program>(std::move(graph), records_gradients, bytes, is_widened);
  finish(before);
  return std::make_unique<Program>(std::move(before), std::move(graph), records_gradients, bytes);
}

}  // namespace sightline
