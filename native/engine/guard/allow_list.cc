#include "engine/guard/allow_list.h"

#include <torch/csrc/jit/api/function_impl.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "engine/errors.h"
#include "engine/graph/graph_ops.h"
#include "engine/guard/computing_operators.h"

namespace sightline {

using torch::jit::Block;
using torch::jit::GraphFunction;
using torch::jit::Node;
using torch::jit::Value;

namespace {

// Interpreter steps of one run, calls and loops multiplied out. The largest classifiers take some ten thousand; a
// hundred million take seconds.
constexpr double kMostSteps = 1e8;
// Of these the operators on tensors, each of which may take a millisecond.
constexpr double kMostTensorSteps = 1e5;
// What a dimension of a tensor or the length of a list is taken for.
constexpr double kUsualCount = 256;
// Elements of a tensor that is made from constant sizes alone: 1 GiB of float32.
constexpr double kMostElements = 1 << 28;
constexpr int kDeepestCalls = 256;

// Arguments that are sizes, or turn into sizes. Elsewhere large numbers are harmless: a slice to the end ends at 2^63 - 1.
const std::unordered_set<std::string_view> kSizes = {"size", "output_size", "repeats", "dims", "pad", "padding", "s"};
const std::unordered_set<std::string_view> kCounts = {"output_size", "repeats",       "steps", "n",   "m",  "N",
                                                      "num_classes", "window_length", "bins",  "row", "col"};

// The class of `with torch.no_grad():`. Its blocks are opened before anything runs, and no other use of it is let through.
constexpr const char* kNoGrad = "__torch__.torch.autograd.grad_mode.no_grad.";

// What a call takes, loops and further calls multiplied out.
struct Steps {
  double all = 0;
  double on_tensors = 0;

  void add(const Steps& other, double times = 1) {
    all += other.all * times;
    on_tensors += other.on_tensors * times;
  }
};

class Scan {
 public:
  Scan(const torch::jit::Module& module, const std::string& path, bool trust_helps)
      : path_(path), trust_helps_(trust_helps) {
    learn_numbers(module);
  }

  void function(const GraphFunction& function) { steps(function, 0); }

 private:
  // The largest number that any object of a class holds in an attribute: loops run to such numbers.
  void learn_numbers(const torch::jit::Module& module) {
    for (const auto& each : module.modules()) {
      const auto object = each._ivalue();
      const auto type = object->type();
      for (size_t i = 0; i < type->numAttributes(); ++i) {
        const auto& value = object->getSlot(i);
        if (!value.isInt()) continue;
        auto& largest = numbers_[{type.get(), type->getAttributeName(i)}];
        largest = std::max(largest, std::abs(static_cast<double>(value.toInt())));
      }
    }
  }

  // Steps of one call, and on the way every operator against the list.
  Steps steps(const GraphFunction& function, int depth) {
    if (const auto known = steps_.find(&function); known != steps_.end()) return known->second;
    const auto name = function.qualname().qualifiedName();
    if (depth > kDeepestCalls || !open_.insert(&function).second)
      refuse("calls itself in " + place(name) + ", or calls too deep");
    const auto total = steps(function.graph()->block(), name, depth);
    if (!(total.all <= kMostSteps) || !(total.on_tensors <= kMostTensorSteps))
      refuse("would take more steps than any classifier does, in " + place(name));
    open_.erase(&function);
    steps_[&function] = total;
    return total;
  }

  Steps steps(const Block* block, const std::string& name, int depth) {
    Steps total;
    for (const Node* node : block->nodes()) {
      check(node, name);
      const bool is_on_tensors =
          !node->kind().is_prim() && std::any_of(node->outputs().begin(), node->outputs().end(), is_tensor);
      total.add({1, is_on_tensors ? 1.0 : 0.0});
      if (node->kind() == c10::prim::CallMethod) {
        if (const auto type = node->input(0)->type()->cast<c10::ClassType>()) {
          total.add(callee(type->findMethod(node->s(c10::attr::name)), depth));
        }
      } else if (node->kind() == c10::prim::CallFunction) {
        if (const auto type = node->input(0)->type()->cast<c10::FunctionType>())
          total.add(callee(type->function(), depth));
      }
      double turns = 1;
      if (node->kind() == c10::prim::Loop) {
        // A loop whose turns depend on the size at hand is ended by the limit on the first run, if by nothing else.
        const auto found = ends_early(node) ? std::nullopt : bound(node->input(0), 0);
        if (found && *found > kMostSteps)
          refuse("has a loop of more turns than any classifier takes in " + place(name));
        turns = std::max(1.0, found.value_or(1));
      }
      for (const Block* each : node->blocks()) total.add(steps(each, name, depth), turns);
    }
    return total;
  }

  Steps callee(torch::jit::Function* called, int depth) {
    const auto* graph = called == nullptr ? nullptr : torch::jit::tryToGraphFunction(*called);
    return graph == nullptr ? Steps() : steps(*graph, depth + 1);
  }

  void check(const Node* node, const std::string& name) {
    const std::string kind = node->kind().toQualString();
    if (!only_computes(node) && !(is_aten(node, "set_grad_enabled") && name.rfind(kNoGrad, 0) == 0))
      refuse("uses the operator " + kind + " in " + place(name) + ", which no image classifier needs");
    for (const auto attribute : node->attributeNames()) {
      const auto sort = node->kindOf(attribute);
      if (sort == torch::jit::AttributeKind::g || sort == torch::jit::AttributeKind::gs) {
        refuse("has a graph inside the operator " + kind + " in " + place(name));
      }
    }
    // `[0] * n` is a list of n elements.
    const bool repeats_list = kind == "aten::mul" && node->output()->type()->kind() == c10::TypeKind::ListType;
    const auto* schema = node->maybeSchema();
    for (size_t i = 0; i < node->inputs().size(); ++i) {
      const Value* input = node->input(i);
      const bool is_list = input->type()->kind() == c10::TypeKind::ListType;
      const std::string_view argument = schema != nullptr && i < schema->arguments().size()
                                            ? std::string_view(schema->arguments()[i].name())
                                            : std::string_view();
      const bool is_size = is_list ? kSizes.count(argument) != 0
                                   : repeats_list || kind == "aten::arange" || kCounts.count(argument) != 0;
      if (is_size && elements(input) > kMostElements)
        refuse("makes a tensor of a constant, enormous size (" + kind + " in " + place(name) + ")");
    }
  }

  // The product of a constant list of sizes, or a constant; 0 for what is not constant.
  static double elements(const Value* value) {
    if (const auto constant = constant_of(value)) {
      if (constant->isInt()) return std::abs(static_cast<double>(constant->toInt()));
      if (!constant->isIntList()) return 0;
      double product = 1;
      for (const int64_t size : constant->toIntList().vec())
        product *= std::max(1.0, std::abs(static_cast<double>(size)));
      return product;
    }
    if (value->node()->kind() != c10::prim::ListConstruct) return 0;
    double product = 1;
    for (const Value* each : value->node()->inputs()) {
      const auto constant = constant_of(each);
      if (constant && constant->isInt()) product *= std::max(1.0, std::abs(static_cast<double>(constant->toInt())));
    }
    return product;
  }

  // Whether a condition may end it before its number of turns is up: `while`, `break`, `return`.
  static bool ends_early(const Node* loop) {
    const auto next = constant_of(loop->blocks()[0]->outputs()[0]);
    return !next || !next->isBool() || !next->toBool();
  }

  // A number that the whole number `value` does not exceed in size, as far as the graph tells.
  std::optional<double> bound(const Value* value, int depth) const {
    if (depth > 32) return std::nullopt;
    const Node* node = value->node();
    if (const auto constant = constant_of(value)) {
      if (!constant->isInt()) return std::nullopt;
      return std::abs(static_cast<double>(constant->toInt()));
    }
    if (node->kind() == c10::prim::GetAttr) {
      const auto found = numbers_.find({node->input(0)->type().get(), node->s(c10::attr::name)});
      if (found == numbers_.end()) return std::nullopt;
      return found->second;
    }
    if (is_any_of(node, {"size", "len", "dim"})) {
      // Of a list that is written out the length is known.
      if (is_aten(node, "len") && node->input(0)->node()->kind() == c10::prim::ListConstruct)
        return static_cast<double>(node->input(0)->node()->inputs().size());
      return kUsualCount;
    }
    if (is_aten(node, "__getitem__") || node->kind() == c10::prim::ListUnpack) {
      return is_aten(node->input(0)->node(), "size") ? std::optional<double>(kUsualCount) : std::nullopt;
    }
    const auto of = [&](size_t i) { return bound(node->input(i), depth + 1); };
    if (is_any_of(node, {"add", "sub"}) && node->inputs().size() == 2) {
      const auto a = of(0);
      const auto b = of(1);
      return a && b ? std::optional<double>(*a + *b) : std::nullopt;
    }
    if (is_aten(node, "mul")) {
      const auto a = of(0);
      const auto b = of(1);
      return a && b ? std::optional<double>(*a * *b) : std::nullopt;
    }
    if (is_any_of(node, {"floordiv", "floor_divide", "__range_length"})) {
      // From lo to hi by at least one step.
      if (!is_aten(node, "__range_length")) return of(0);
      const auto low = of(0);
      const auto high = of(1);
      return low && high ? std::optional<double>(*low + *high) : std::nullopt;
    }
    if (is_any_of(node, {"min", "max"}) || node->kind() == c10::prim::min || node->kind() == c10::prim::max) {
      if (node->inputs().size() != 2) return std::nullopt;
      const auto a = of(0);
      const auto b = of(1);
      if (a && b) return std::max(*a, *b);
      return std::nullopt;
    }
    if (node->kind() == c10::prim::If) {
      const size_t i = value->offset();
      const auto a = bound(node->blocks()[0]->outputs()[i], depth + 1);
      const auto b = bound(node->blocks()[1]->outputs()[i], depth + 1);
      return a && b ? std::optional<double>(std::max(*a, *b)) : std::nullopt;
    }
    return std::nullopt;
  }

  // The class and method without what every name of an archive has in front.
  static std::string place(const std::string& qualified) {
    constexpr std::string_view prefix = "__torch__.";
    return qualified.rfind(prefix, 0) == 0 ? qualified.substr(prefix.size()) : qualified;
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw EngineError("UNTRUSTED_ARCHIVE",
                      path_ + " " + what +
                          (trust_helps_ ? "; load it with trust: true (--trust) if you know who made it."
                                        : "; export a model without it."));
  }

  const std::string& path_;
  const bool trust_helps_;
  std::map<std::pair<const c10::Type*, std::string>, double> numbers_;
  std::unordered_map<const GraphFunction*, Steps> steps_;
  std::unordered_set<const GraphFunction*> open_;
};

}  // namespace

void check_operators(const torch::jit::Module& module, const std::string& path, bool trust_helps) {
  Scan scan(module, path, trust_helps);
  // The archive's own compilation unit: all its classes' methods and its functions, reached from forward or not.
  for (const torch::jit::Function* function : module._ivalue()->compilation_unit()->get_functions()) {
    if (const auto* graph = torch::jit::tryToGraphFunction(*const_cast<torch::jit::Function*>(function)))
      scan.function(*graph);
  }
}

}  // namespace sightline
