#include "engine/programs/taps.h"

#include <ATen/ops/argsort.h>
#include <ATen/ops/tensor.h>

#include "engine/errors.h"
#include "engine/graph/fused_attention.h"
#include "engine/graph/graph_ops.h"
#include "engine/graph/residual_stream.h"
#include "engine/relevance/rules.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

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

// Shows [batch (of windows), ..., channels] as [batch, tokens, channels] with the patches row by row. `order`: as
// PatchGrid's.
Value* in_rows(Graph& graph, Value* value, const std::vector<int64_t>& order) {
  auto sizes = *recorded_sizes(value);
  const auto device = value->type()->expect<c10::TensorType>()->device().value_or(at::kCPU);
  const auto there = at::tensor(order, at::kLong).to(device);
  const auto back = there.argsort();
  const std::vector<int64_t> flat{-1, static_cast<int64_t>(order.size()), sizes.back()};
  sizes[0] = -1;
  return detour(
      value,
      [&](Value* x) {
        return insert_aten(graph, "index_select", {insert_aten(graph, "reshape", {x, c10::IValue(flat)}), 1, there});
      },
      [&](Value* x) {
        return insert_aten(graph, "reshape", {insert_aten(graph, "index_select", {x, 1, back}), c10::IValue(sizes)});
      });
}

// Shows a value of an attention as [batch * windows, heads, rows, columns].
Value* with_heads_second(Graph& graph, Value* value, const AttentionSite& site, Tap::Kind kind) {
  using Batch = AttentionSite::Batch;
  const auto op = [&](const char* name, at::ArrayRef<torch::jit::NamedValue> inputs) {
    return insert_aten(graph, name, inputs);
  };
  const auto apart = [&](Value* x) {
    return op("unflatten", {x, 0, c10::IValue(std::vector<int64_t>{-1, site.windows})});
  };
  const auto joined = [&](Value* x) { return op("flatten", {x, 0, 1}); };
  switch (site.batch) {
    case Batch::Heads:
      return value;
    case Batch::HeadsFolded: {
      const int64_t rows = kind == Tap::Kind::Key || kind == Tap::Kind::Value ? site.keys : site.tokens;
      const int64_t columns = kind == Tap::Kind::Attention ? site.keys
                              : kind == Tap::Kind::Value   ? site.value_size
                                                           : site.head_size;
      return detour(
          value,
          [&](Value* x) {
            return op("reshape", {x, c10::IValue(std::vector<int64_t>{-1, site.heads, rows, columns})});
          },
          joined);
    }
    case Batch::WindowsThenHeads:
      return detour(value, joined, apart);
    case Batch::HeadsThenWindows:
      return detour(
          value, [&](Value* x) { return joined(op("transpose", {x, 1, 2})); },
          [&](Value* x) { return op("transpose", {apart(x), 1, 2}); });
    case Batch::Windows:
      return detour(
          value, [&](Value* x) { return op("unsqueeze", {joined(x), 1}); },
          [&](Value* x) { return apart(op("squeeze", {x, 1})); });
  }
  return value;
}

}  // namespace

Tappable register_taps(const StraightGraph& straight, std::vector<AttentionSite> sites, at::ScalarType dtype,
                       NetworkInfo& info) {
  Tappable tappable;
  tappable.sites = std::move(sites);
  tappable.dtype = dtype;
  // Nothing is mutated any more, so outputs do not hold anything back.
  tappable.master = straight.graph;
  for (const auto& node : straight.nodes) {
    tappable.node_outputs.emplace(node.name, tappable.master->outputs().size());
    const auto& grid = info.nodes[&node - straight.nodes.data()].grid;
    if (grid && !grid->order.empty()) tappable.orders.emplace(node.name, grid->order);
    tappable.master->registerOutput(node.value);
  }
  for (const auto& site : tappable.sites) {
    std::array<size_t, 4> positions{};
    const std::array<Value*, 4> values{site.query, site.key, site.value, site.result};
    for (size_t i = 0; i < values.size(); ++i) {
      positions[i] = tappable.master->outputs().size();
      tappable.master->registerOutput(values[i]);
    }
    tappable.site_outputs.push_back(positions);
    const auto stream = find_residual_stream(site);
    std::array<size_t, 2> around{};
    if (stream.residual_mid != nullptr) {
      around = {tappable.master->outputs().size(), tappable.master->outputs().size() + 1};
      tappable.master->registerOutput(stream.residual);
      tappable.master->registerOutput(stream.residual_mid);
      info.attention[tappable.site_outputs.size() - 1].output_projection = stream.projection;
      info.attention[tappable.site_outputs.size() - 1].norm_weight = stream.norm_weight;
      info.attention[tappable.site_outputs.size() - 1].is_in_stream = stream.projection.defined();
    }
    tappable.stream_outputs.push_back(around);
    const Node* node = site.result->node();
    tappable.mask_dtypes.push_back(site.form == AttentionSite::Form::ScaledDotProduct ? recorded_dtype(node->input(3))
                                                                                      : std::nullopt);
  }
  return tappable;
}

std::vector<Value*> find_taps(Graph& graph, const Tappable& tappable, const ProgramRequest& request) {
  std::vector<Tap> asked;
  for (const auto& each : request.taps) asked.push_back(each.tap);
  asked.insert(asked.end(), request.replaces.begin(), request.replaces.end());
  const auto outputs = [&](size_t position) { return graph.outputs()[position]; };

  std::map<int64_t, Value*> opened;
  const auto open = [&](int64_t i) {
    const AttentionSite& site = tappable.sites[i];
    Value* result = outputs(tappable.site_outputs[i][3]);
    opened[i] =
        site.form == AttentionSite::Form::Softmax
            ? result
            : open_scaled_dot_product(graph, result->node(), site.head_size, tappable.mask_dtypes[i], tappable.dtype);
  };
  // Fused attention has no second derivative, and no multiplier.
  const bool opens_all = request.is_smooth || compares_images(request.rule);
  for (size_t i = 0; opens_all && i < tappable.sites.size(); ++i) {
    if (tappable.sites[i].unsupported.empty()) open(static_cast<int64_t>(i));
  }
  for (const Tap& tap : asked) {
    if (tap.kind < Tap::Kind::Attention) continue;
    if (tap.site < 0 || tap.site >= static_cast<int64_t>(tappable.sites.size())) {
      throw EngineError("UNKNOWN_NODE", "The model has " + std::to_string(tappable.sites.size()) +
                                            " attention sites; there is no attention[" + std::to_string(tap.site) +
                                            "].");
    }
    const AttentionSite& site = tappable.sites[tap.site];
    if (tap.kind != Tap::Kind::Attention || opened.count(tap.site) != 0) continue;
    if (!site.unsupported.empty()) {
      throw EngineError("METHOD_NOT_APPLICABLE",
                        "The attention of '" + site.name + "' cannot be tapped: " + site.unsupported + ".");
    }
    open(tap.site);
  }
  Value* image = graph.inputs()[1];
  if (!request.rule.name.empty()) {
    const auto replaced = apply_rule(graph, request.rule);
    // Of a pair of images, the one that is explained.
    if (const auto found = replaced.find(image); found != replaced.end()) image = found->second;
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
      taps.push_back(image);
    } else if (tap.kind == Tap::Kind::Node || tap.kind == Tap::Kind::Patches) {
      const auto found = tappable.node_outputs.find(tap.node);
      if (found == tappable.node_outputs.end())
        throw EngineError("UNKNOWN_NODE", "The model has no node '" + tap.node + "'.");
      if (tappable.without_batch.count(tap.node) != 0) {
        throw EngineError("METHOD_NOT_APPLICABLE",
                          "The node '" + tap.node + "' cannot be tapped: its first axis is not the images'.");
      }
      taps.push_back(outputs(found->second));
    } else if (tap.kind == Tap::Kind::Residual || tap.kind == Tap::Kind::ResidualMid) {
      const auto& positions = tappable.stream_outputs[tap.site];
      if (positions[0] == 0) {
        throw EngineError("METHOD_NOT_APPLICABLE", "The graph does not tell what the attention of '" +
                                                       tappable.sites[tap.site].name + "' is added to.");
      }
      taps.push_back(outputs(positions[tap.kind == Tap::Kind::Residual ? 0 : 1]));
    } else if (tap.kind == Tap::Kind::Attention) {
      taps.push_back(opened.at(tap.site));
    } else {
      const size_t which = tap.kind == Tap::Kind::Query ? 0 : tap.kind == Tap::Kind::Key ? 1 : 2;
      taps.push_back(outputs(tappable.site_outputs[tap.site][which]));
    }
  }

  // The same tap asked twice, to be read and to be replaced, is one value.
  std::map<Tap, Value*> shown;
  for (size_t i = 0; i < asked.size(); ++i) {
    const Tap& tap = asked[i];
    Value*& value = taps[i];
    if (tap.kind < Tap::Kind::Patches || tap.kind > Tap::Kind::Value) continue;
    if (const auto found = shown.find(tap); found != shown.end()) {
      value = found->second;
      continue;
    }
    if (tap.kind == Tap::Kind::Patches) {
      value = in_rows(graph, value, tappable.orders.at(tap.node));
      shown.emplace(tap, value);
      continue;
    }
    const AttentionSite& site = tappable.sites[tap.site];
    if ((tap.kind == Tap::Kind::Key && site.key_is_transposed) ||
        (tap.kind == Tap::Kind::Value && site.value_is_transposed)) {
      const auto swap = [&](Value* x) { return insert_aten(graph, "transpose", {x, -2, -1}); };
      value = detour(value, swap, swap);
    }
    value = with_heads_second(graph, value, site, tap.kind);
    shown.emplace(tap, value);
  }
  return taps;
}

}  // namespace sightline
