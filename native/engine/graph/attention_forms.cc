#include "engine/graph/attention_forms.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "engine/graph/graph_ops.h"
#include "engine/graph/places.h"
#include "engine/graph/straighten.h"

namespace sightline {

using torch::jit::Node;
using torch::jit::Value;

namespace {

// Every exporter writes attention within a few steps around its softmax.
constexpr int kSearchDepth = 12;

bool is_softmax(const Node* node) { return is_any_of(node, {"softmax", "_softmax", "_safe_softmax"}); }

bool is_product(const Node* node) { return is_any_of(node, {"matmul", "bmm", "baddbmm"}); }

bool is_scalar(const Value* value) {
  if (!is_tensor(value)) return true;
  const auto sizes = recorded_sizes(value);
  return sizes && sizes->empty();
}

// The projection before scaling by a number: timm multiplies the queries, others both.
Value* without_scale(Value* value) {
  for (int depth = 0; depth < kSearchDepth; ++depth) {
    Node* node = value->node();
    if (is_aten(node, "contiguous") || (is_any_of(node, {"mul", "div"}) && is_scalar(node->input(1)))) {
      value = node->input(0);
    } else if (is_aten(node, "mul") && is_scalar(node->input(0))) {
      value = node->input(1);
    } else {
      break;
    }
  }
  return value;
}

bool swaps_last_two(const Node* node) {
  if (std::strcmp(node->kind().toUnqualString(), "mT") == 0) return true;
  if (node->inputs().empty() || !is_tensor(node->input(0))) return false;
  const auto sizes = recorded_sizes(node->input(0));
  if (!sizes || sizes->size() < 2) return false;
  const auto rank = static_cast<int64_t>(sizes->size());
  const auto from_start = [&](int64_t dim) { return dim < 0 ? dim + rank : dim; };
  if (is_any_of(node, {"transpose", "swapaxes", "swapdims"})) {
    const auto a = constant_of(node->input(1)), b = constant_of(node->input(2));
    if (!a || !b || !a->isInt() || !b->isInt()) return false;
    const auto [low, high] = std::minmax({from_start(a->toInt()), from_start(b->toInt())});
    return low == rank - 2 && high == rank - 1;
  }
  if (!is_aten(node, "permute")) return false;
  const auto order = constant_of(node->input(1));
  if (!order || !order->isIntList()) return false;
  const auto axes = order->toIntVector();
  for (int64_t i = 0; i < rank; ++i) {
    const auto wanted = i == rank - 1 ? rank - 2 : i == rank - 2 ? rank - 1 : i;
    if (from_start(axes.at(static_cast<size_t>(i))) != wanted) return false;
  }
  return true;
}

// Whether it carries all heads of each pair of tokens on, mixed with one another: talking heads, re-attention.
bool mixes_heads(const Node* node) {
  return is_any_of(node, {"permute", "linear", "conv2d", "_convolution", "batch_norm"});
}

bool ends_in(const Value* value, int64_t rows, int64_t columns) {
  const auto sizes = recorded_sizes(value);
  return sizes && sizes->size() >= 3 && sizes->at(sizes->size() - 2) == rows && sizes->back() == columns;
}

// From a softmax's output to the product with the values.
struct ValueProduct {
  Node* product = nullptr;
  Value* probabilities = nullptr;  // without columns that stand for no value
  bool from_right = false;         // v^T a^T
  std::string altered;
};

std::optional<ValueProduct> find_value_product(Value* value, ValueProduct so_far, int depth = 0) {
  if (depth > kSearchDepth) return std::nullopt;
  const auto of_softmax = recorded_sizes(so_far.probabilities);
  const int64_t rows = of_softmax->at(of_softmax->size() - 2), columns = of_softmax->back();
  for (const auto& use : value->uses()) {
    Node* node = use.user;
    ValueProduct found = so_far;
    if (is_any_of(node, {"matmul", "bmm"})) {
      if (found.from_right != (use.offset == 1) ||
          !(found.from_right ? ends_in(value, columns, rows) : ends_in(value, rows, columns)))
        continue;
      found.product = node;
      return found;
    }
    if (node->outputs().size() != 1 || !is_tensor(node->output())) continue;
    if (use.offset == 0 && swaps_last_two(node)) {
      found.from_right = !found.from_right;
    } else if (use.offset == 0 && is_aten(node, "slice") && !found.from_right && value == found.probabilities &&
               ends_in(node->output(), rows, columns - 1)) {
      found.probabilities = node->output();  // a sink, to which attention goes and which has no value
    } else if (is_any_of(node, {"mul"}) && is_tensor(node->input(1 - use.offset)) &&
               recorded_sizes(node->output()) == recorded_sizes(value)) {
      if (!is_scalar(node->input(1 - use.offset)))
        found.altered = "its probabilities are multiplied by something else before they meet the values";
    } else if (use.offset == 0 && mixes_heads(node)) {
      found.altered = "its heads are mixed after the softmax";
    } else if (use.offset != 0 || !is_any_of(node, {"dropout", "to", "type_as", "contiguous", "clone", "reshape",
                                                    "view", "expand", "detach", "float"})) {
      continue;
    }
    if (auto ended = find_value_product(node->output(), found, depth + 1)) return ended;
  }
  return std::nullopt;
}

// From softmax's input back to the product of queries and keys, past scale, mask, bias, casts and sinks.
Node* find_score_product(Value* scores, int64_t rows, int64_t columns, int depth = 0) {
  if (depth > kSearchDepth) return nullptr;
  Node* node = scores->node();
  const auto from = [&](Value* input) {
    return is_tensor(input) ? find_score_product(input, rows, columns, depth + 1) : nullptr;
  };
  // With a sink the softmax has a column more than there are keys.
  if (is_product(node)) return ends_in(scores, rows, columns) || ends_in(scores, rows, columns - 1) ? node : nullptr;
  if (is_any_of(node, {"add", "sub", "mul", "div"})) {
    // Either side may be the bias or the scale, which may itself be gathered by other operators.
    if (Node* found = from(node->input(0))) return found;
    return from(node->input(1));
  }
  if (is_any_of(node, {"cat", "concat"})) {
    for (Value* part : node->input(0)->node()->inputs()) {
      if (Node* found = from(part)) return found;
    }
    return nullptr;
  }
  if (is_aten(node, "where")) {
    if (Node* found = from(node->input(1))) return found;
    return from(node->input(2));
  }
  if (is_any_of(node, {"to", "contiguous", "reshape", "view", "masked_fill", "clamp", "float", "type_as", "clone",
                       "tanh", "squeeze", "unsqueeze", "flatten"}) ||
      mixes_heads(node)) {
    return from(node->input(0));
  }
  return nullptr;
}

// Whether an axis with more than one entry holds windows: entries that lie apart, each once. None where that cannot be
// told, or where windows and heads are folded into one axis.
std::optional<bool> holds_windows(const AttentionSite& site, int64_t axis, const Places& places) {
  const auto sizes = recorded_sizes(site.query), of_keys = recorded_sizes(site.key);
  // Queries of the whole image may ask every window: then the keys tell.
  const bool by_keys = !places.tells_apart(site.query, axis).value_or(true) && of_keys &&
                       of_keys->size() == sizes->size() &&
                       of_keys->at(static_cast<size_t>(axis)) == sizes->at(static_cast<size_t>(axis));
  const Value* const telling = by_keys ? site.key : site.query;
  const auto apart = places.tells_apart(telling, axis);
  if (!apart || !*apart) return apart;
  return places.are_all_apart(telling, axis).value_or(false) ? apart : std::nullopt;
}

// Fills in the counts by the sizes of queries, keys and values for one image. False where heads and windows cannot be
// told apart.
bool read_shape(AttentionSite& site, const Places& places) {
  using Batch = AttentionSite::Batch;
  const auto query = recorded_sizes(site.query), key = recorded_sizes(site.key), value = recorded_sizes(site.value);
  if (!query || !key || !value || query->size() < 3 || query->size() > 5 || key->size() < 3 || value->size() < 3)
    return false;
  const size_t rank = query->size();
  const auto are_windows = [&](int64_t axis) { return places.tells_apart(site.query, axis); };
  if (rank == 3) {
    site.batch = Batch::HeadsFolded;
    const auto windows = holds_windows(site, 0, places);
    if (query->at(0) > 1 && !windows) return false;
    // Traced with one image, so what is folded into the batch is the heads, unless each sees another part of the image.
    (windows.value_or(false) ? site.windows : site.heads) = query->at(0);
    site.heads = std::max<int64_t>(site.heads, 1);
  } else if (rank == 4) {
    // Traced with one image: several entries of the first axis are its windows. Else it is of no form that is read here,
    // such as heads folded into the batch, with windows after them.
    if (query->at(0) > 1 && (!holds_windows(site, 0, places).value_or(false) || are_windows(1).value_or(true)))
      return false;
    const bool has_windows = query->at(0) == 1 && are_windows(1).value_or(false);
    if (has_windows && !holds_windows(site, 1, places)) return false;
    site.batch = has_windows ? Batch::Windows : Batch::Heads;
    site.windows = has_windows ? query->at(1) : query->at(0);
    site.heads = has_windows ? 1 : query->at(1);
  } else {
    const auto first = are_windows(1), second = are_windows(2);
    if (query->at(0) != 1) return false;
    // Where neither tells apart, there is one window.
    const bool windows_first = first.value_or(false) || (!second.value_or(false) && query->at(1) == 1);
    if (!first || !second || (*first && *second) || (query->at(1) != 1 && query->at(2) != 1 && *first == *second))
      site.unsupported = "which axis of its queries is heads and which is windows cannot be told";
    site.batch = windows_first ? Batch::WindowsThenHeads : Batch::HeadsThenWindows;
    site.windows = query->at(windows_first ? 1 : 2);
    site.heads = query->at(windows_first ? 2 : 1);
  }
  site.tokens = query->at(rank - 2);
  site.head_size = query->at(rank - 1);
  site.keys = key->at(key->size() - (site.key_is_transposed ? 1 : 2));
  site.value_size = value->at(value->size() - (site.value_is_transposed ? 2 : 1));
  const auto tokens = site.windows == 1 ? places.tokens(site.query, static_cast<int64_t>(rank) - 2) : std::nullopt;
  if (tokens) site.grid = PatchGrid{tokens->height, tokens->width, tokens->prefix, tokens->suffix};
  return true;
}

std::optional<AttentionSite> read_scaled_dot_product(Node* node, const Places& places) {
  AttentionSite site;
  site.form = AttentionSite::Form::ScaledDotProduct;
  site.query = node->input(0);
  site.key = node->input(1);
  site.value = node->input(2);
  site.result = site.product = node->output();
  if (!read_shape(site, places)) return std::nullopt;
  const auto causal = constant_of(node->input(5));
  if (!causal || causal->toBool()) site.unsupported = "its attention is causal";
  const auto grouped = node->inputs().size() > 7 ? constant_of(node->input(7)) : std::nullopt;
  if (grouped && grouped->isBool() && grouped->toBool())
    site.unsupported = "its queries share keys and values in groups";
  const auto dropout = constant_of(node->input(4));
  if (!dropout || dropout->toDouble() != 0.0) site.unsupported = "its attention drops out at inference";
  return site;
}

std::optional<AttentionSite> read_softmax(Node* node, const Places& places) {
  const auto sizes = recorded_sizes(node->output());
  if (!sizes || sizes->size() < 3) return std::nullopt;
  const auto rank = static_cast<int64_t>(sizes->size());
  const auto dim = constant_of(node->input(1));
  if (!dim || !dim->isInt()) return std::nullopt;
  const bool is_last = dim->toInt() == -1 || dim->toInt() == rank - 1;
  if (!is_last) return std::nullopt;
  const auto product = find_value_product(node->output(), {nullptr, node->output(), false, {}});
  Node* scores = find_score_product(node->input(0), sizes->at(sizes->size() - 2), sizes->back());
  if (!product || scores == nullptr) return std::nullopt;

  AttentionSite site;
  site.form = AttentionSite::Form::Softmax;
  site.result = product->probabilities;
  site.product = product->product->output();
  site.altered = product->altered;
  // Not the softmax's own scope, which is that of an nn.Softmax where there is one.
  site.name = product->product->scopeName();
  const size_t first = is_aten(scores, "baddbmm") ? 1 : 0;
  site.query = without_scale(scores->input(first));
  site.key = without_scale(scores->input(first + 1));
  const auto turned = [](Value*& value) {
    const bool is_turned = swaps_last_two(value->node());
    if (is_turned) value = without_scale(value->node()->input(0));
    return is_turned;
  };
  site.key_is_transposed = !turned(site.key);
  site.value = product->product->input(product->from_right ? 0 : 1);
  site.value_is_transposed = product->from_right && !turned(site.value);
  if (!read_shape(site, places)) return std::nullopt;
  site.keys = recorded_sizes(site.result)->back();
  return site;
}

}  // namespace

std::vector<AttentionSite> find_attention(const StraightGraph& straight, const Places& places, int64_t& unknown) {
  std::vector<AttentionSite> sites;
  unknown = 0;
  for (Node* node : straight.graph->nodes()) {
    std::optional<AttentionSite> site;
    if (is_aten(node, "scaled_dot_product_attention")) site = read_scaled_dot_product(node, places);
    if (is_softmax(node)) site = read_softmax(node, places);
    if (!site) {
      const auto sizes = is_softmax(node) ? recorded_sizes(node->output()) : std::nullopt;
      if (is_aten(node, "scaled_dot_product_attention") || (sizes && sizes->size() >= 3)) ++unknown;
      continue;
    }
    if (site->name.empty()) site->name = node->scopeName();
    if (site->name.empty()) site->name = "attention[" + std::to_string(sites.size()) + "]";
    sites.push_back(*site);
  }
  return sites;
}

}  // namespace sightline
