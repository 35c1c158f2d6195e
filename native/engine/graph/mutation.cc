#include "engine/graph/mutation.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

// They read no numbers, so that it does not matter to them what is written into a tensor's memory.
bool reads_numbers(const Node* node) {
  return !is_any_of(node,
                    {"size", "dim", "numel", "stride", "len", "is_contiguous", "is_floating_point", "is_complex"}) &&
         node->kind() != c10::prim::dtype && node->kind() != c10::prim::device && node->kind() != c10::prim::layout;
}

bool writes(const Node* node, size_t argument) {
  const auto* schema = node->maybeSchema();
  if (schema == nullptr || argument >= schema->arguments().size()) return false;
  const auto* alias = schema->arguments()[argument].alias_info();
  return alias != nullptr && alias->isWrite();
}

// Whose results are bool out of place, and of the tensor's own type in place.
bool compares(const Node* node) {
  return is_any_of(
      node, {"eq_", "ne_", "lt_", "le_", "gt_", "ge_", "logical_and_", "logical_or_", "logical_xor_", "logical_not_"});
}

// Whether PyTorch would compute in another type than `to`, out of place.
bool promotes(const Node* in_place, std::optional<at::ScalarType> to) {
  if (compares(in_place)) return true;
  if (is_aten(in_place, "copy_")) return false;
  return std::any_of(in_place->inputs().begin(), in_place->inputs().end(), [to](const Value* input) {
    if (!is_tensor(input)) return false;
    const auto type = recorded_dtype(input);
    const auto sizes = recorded_sizes(input);
    return type != to && type != at::kBool && !(sizes && sizes->empty());
  });
}

// `add` for `add_`, put before it; null where there is none.
Node* insert_out_of_place(Graph& graph, Node* in_place) {
  std::string name = in_place->kind().toQualString();
  name.pop_back();
  if (is_aten(in_place, "zero_")) name = "aten::zeros_like";
  if (is_aten(in_place, "fill_") && !is_tensor(in_place->input(1))) name = "aten::full_like";
  const auto symbol = c10::Symbol::fromQualString(name);
  const WithInsertPoint point(in_place);
  Node* node = nullptr;
  if (name == "aten::zeros_like") {
    node = graph.insert(symbol, {in_place->input(0)})->node();
  } else if (name == "aten::full_like") {
    node = graph.insert(symbol, {in_place->input(0), in_place->input(1)})->node();
  } else {
    node = graph.insertNode(graph.create(symbol, in_place->inputs(), 1));
    const auto* schema = node->maybeSchema();
    // `squeeze_` and its like write no numbers: their other form is a view.
    if (schema == nullptr || schema->returns().size() != 1 || schema->returns()[0].alias_info() != nullptr) {
      node->destroy();
      return nullptr;
    }
  }
  node->copyMetadata(in_place);
  return node;
}

class Removal {
 public:
  Removal(Graph& graph, TensorIdentities identities) : graph_(graph), identities_(std::move(identities)) {
    for (const Value* input : graph.inputs()) note(input);
    for (const Node* node : graph.nodes()) {
      for (const Value* output : node->outputs()) note(output);
    }
    for (const auto& each : identities_) {
      for (const auto& [tensor, memory] : each.second) next_ = std::max({next_, tensor + 1, memory + 1});
    }
  }

  std::unordered_set<const Node*> run() {
    std::vector<Node*> marks;
    for (auto it = graph_.nodes().begin(); it != graph_.nodes().end();) {
      Node* node = *it++;
      if (node->kind() == mark_symbol()) marks.push_back(node);
      note_additions_to_list(node);
      for (size_t i = 0; i < node->inputs().size(); ++i) {
        if (!writes(node, i) || !is_tensor(node->input(i))) continue;
        if (i == 0 && replaced(node)) break;
        keep_apart(marks, node, i);
      }
    }
    return std::move(untrue_);
  }

 private:
  struct Alias {
    Value* value;
    TensorIdentity identity;
    bool is_tensor;  // else a list or a tuple that holds it
  };

  void note(const Value* value) {
    const auto found = identities_.find(value->unique());
    if (found == identities_.end()) return;
    for (const auto& identity : found->second)
      aliases_[identity.memory].push_back({const_cast<Value*>(value), identity, is_tensor(value)});
  }

  std::optional<TensorIdentity> identity_of(const Value* value) const {
    const auto found = identities_.find(value->unique());
    if (found == identities_.end() || found->second.size() != 1) return std::nullopt;
    return found->second.front();
  }

  // Where a list is appended to: what it holds from there on.
  void note_additions_to_list(const Node* node) {
    if (node->inputs().size() < 2 || !writes(node, 0) || is_tensor(node->input(0))) return;
    for (size_t i = 1; i < node->inputs().size(); ++i) {
      const auto added = identities_.find(node->input(i)->unique());
      if (added == identities_.end()) continue;
      const auto additions = added->second;
      for (const auto& identity : additions) {
        aliases_[identity.memory].push_back({const_cast<Value*>(node->input(0)), identity, false});
        identities_[node->input(0)->unique()].push_back(identity);
      }
    }
  }

  static bool is_before(const Value* value, const Node* node) {
    return value->node()->kind() == c10::prim::Param || (value->node() != node && value->node()->isBefore(node));
  }

  static bool is_read_after(const Value* value, const Node* node) {
    const auto& uses = value->uses();
    return std::any_of(uses.begin(), uses.end(), [node](const auto& use) {
      return use.user != node && use.user->isAfter(node) && reads_numbers(use.user);
    });
  }

  // The image and the weights are not the run's own.
  bool is_foreign(int64_t memory) const {
    const auto& aliases = aliases_.at(memory);
    return std::any_of(aliases.begin(), aliases.end(), [](const Alias& alias) {
      const auto kind = alias.value->node()->kind();
      return kind == c10::prim::Param || kind == c10::prim::Constant || kind == c10::prim::GetAttr;
    });
  }

  // Whether another view of `identity` is made before `node` and read after it.
  bool is_seen_through_view(const TensorIdentity& identity, const Node* node) const {
    const auto& aliases = aliases_.at(identity.memory);
    return std::any_of(aliases.begin(), aliases.end(), [&](const Alias& alias) {
      const bool is_same = alias.is_tensor && alias.identity.tensor == identity.tensor;
      return !is_same && is_before(alias.value, node) && is_read_after(alias.value, node);
    });
  }

  // Whatever reads the tensor after `node` reads `fresh`, whose memory is its own from there on.
  void read_instead(const TensorIdentity& identity, Node* node, Value* fresh) {
    auto& aliases = aliases_.at(identity.memory);
    const int64_t memory = next_++;
    std::vector<Alias> before, after;
    for (Alias& alias : aliases) {
      if (is_before(alias.value, node) || alias.value->node() == node) {
        if (alias.is_tensor && alias.identity.tensor == identity.tensor)
          alias.value->replaceAllUsesAfterNodeWith(fresh->node(), fresh);
        before.push_back(alias);
        continue;
      }
      for (auto& each : identities_.at(alias.value->unique())) {
        if (each.memory == identity.memory) each.memory = memory;
      }
      after.push_back({alias.value, {alias.identity.tensor, memory}, alias.is_tensor});
    }
    identities_[fresh->unique()] = {{identity.tensor, memory}};
    after.push_back({fresh, {identity.tensor, memory}, true});
    aliases = std::move(before);
    aliases_[memory] = std::move(after);
  }

  bool replaced(Node* node) {
    const std::string kind = node->kind().toUnqualString();
    if (!node->kind().is_aten() || node->outputs().size() != 1 || kind.size() < 2 || kind.back() != '_' ||
        kind[kind.size() - 2] == '_')
      return false;
    const auto identity = identity_of(node->input(0));
    if (!identity || is_foreign(identity->memory) || is_seen_through_view(*identity, node)) return false;
    Node* fresh = insert_out_of_place(graph_, node);
    if (fresh == nullptr) return false;
    Value* output = fresh->output();
    if (promotes(node, recorded_dtype(node->input(0)))) {
      output->setType(c10::TensorType::get());
      const WithInsertPoint point(node);
      output = graph_.insert(c10::aten::type_as, {output, node->input(0)});
    }
    output->setType(node->output()->type());
    node->output()->replaceAllUsesWith(output);
    read_instead(*identity, node, output);
    forget(node->output());
    node->destroy();
    return true;
  }

  void forget(const Value* value) {
    const auto found = identities_.find(value->unique());
    if (found == identities_.end()) return;
    for (const auto& identity : found->second)
      std::erase_if(aliases_[identity.memory], [&](const Alias& alias) { return alias.value == value; });
    identities_.erase(found);
  }

  // `node` stays and writes into its input: what follows a mark of that memory is to work on a copy. The last mark's copy serves
  // those before it too.
  void keep_apart(const std::vector<Node*>& marks, const Node* node, size_t input) {
    for (auto it = marks.rbegin(); it != marks.rend(); ++it) {
      Node* mark = *it;
      const auto identity = identity_of(mark->input(0));
      const auto written = identity_of(node->input(input));
      if (!identity || !written || identity->memory != written->memory) continue;
      if (is_foreign(identity->memory) || is_seen_through_view(*identity, mark)) {
        untrue_.insert(mark);
        continue;
      }
      const WithInsertPoint point(mark->next());
      Value* copy = graph_.insert(c10::aten::clone, {mark->input(0)});
      copy->setType(mark->output()->type());
      read_instead(*identity, mark, copy);
    }
  }

  Graph& graph_;
  TensorIdentities identities_;
  std::unordered_map<int64_t, std::vector<Alias>> aliases_;  // by memory
  std::unordered_set<const Node*> untrue_;
  int64_t next_ = 0;
};

}  // namespace

std::unordered_set<const Node*> remove_mutation(Graph& graph, TensorIdentities identities) {
  return Removal(graph, std::move(identities)).run();
}

}  // namespace sightline
