#include "engine/exported_program.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/jit/api/compilation_unit.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/runtime/operator.h>

#include <map>
#include <set>
#include <sstream>

#include "engine/errors.h"
#include "engine/exported_arguments.h"
#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

constexpr const char* kAssertion = "aten::_assert_scalar";

std::vector<std::string> split_path(const std::string& name) {
  std::vector<std::string> parts;
  std::istringstream stream(name);
  for (std::string part; std::getline(stream, part, '.');) parts.push_back(part);
  return parts;
}

// The tree of modules that holds the weights by the names that they had.
class ModuleTree {
 public:
  ModuleTree() : unit_(std::make_shared<torch::jit::CompilationUnit>()), root_(make()) {}

  Module& root() { return root_.module; }

  void add(const ProgramTensor& tensor, const at::Tensor& numbers, const std::string& file) {
    // PyTorch 2.6 gives a shared weight twice by one name.
    if (!added_.insert(tensor.name).second) return;
    const auto parts = split_path(tensor.name);
    Branch* branch = &root_;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      auto& child = branch->children[parts[i]];
      if (!child) {
        refuse_taken(*branch, parts[i], tensor.name, file);
        child = std::make_unique<Branch>(make());
        branch->module.register_module(parts[i], child->module);
      }
      branch = child.get();
    }
    refuse_taken(*branch, parts.back(), tensor.name, file);
    if (tensor.is_parameter) {
      branch->module.register_parameter(parts.back(), numbers, /*is_buffer=*/false);
    } else {
      branch->module.register_buffer(parts.back(), numbers);
    }
  }

 private:
  struct Branch {
    Module module;
    std::map<std::string, std::unique_ptr<Branch>> children;
  };

  Branch make() { return {Module("__torch__.exported.Module", unit_, /*shouldMangle=*/true), {}}; }

  static void refuse_taken(const Branch& branch, const std::string& part, const std::string& name,
                           const std::string& file) {
    // `eval()` would put a bool where the code takes a tensor.
    if (branch.module.hasattr(part) || part == "training")
      throw EngineError("UNTRUSTED_ARCHIVE", file + " is damaged or forged: it has a tensor by the name " + name +
                                                 ", which is taken; export the model again.");
  }

  std::shared_ptr<torch::jit::CompilationUnit> unit_;
  std::set<std::string> added_;
  Branch root_;
};

class Builder {
 public:
  Builder(const ExportedProgram& program, const std::string& path, Module& root)
      : program_(program), path_(path), graph_(std::make_shared<Graph>()) {
    self_ = graph_->addInput("self")->setType(root._ivalue()->type());
    values_[program.image] = graph_->addInput("x")->setType(c10::TensorType::get());
  }

  std::shared_ptr<Graph> build() {
    for (const auto& tensor : program_.tensors) values_[tensor.value] = attribute(tensor.name);
    for (const auto& node : program_.nodes) add(node);
    return_outputs();
    return graph_;
  }

  std::vector<PendingMark> marks;

 private:
  Value* attribute(const std::string& name) {
    Value* object = self_;
    std::string prefix;
    for (const auto& part : split_path(name)) {
      prefix += "." + part;
      auto& known = attributes_[prefix];
      if (known == nullptr) {
        known = graph_->insertGetAttr(object, part);
      }
      object = known;
    }
    return object;
  }

  void add(const ProgramNode& node) {
    Node* const before = last_node();
    if (node.op == kAssertion) {
      assert_true(node);
    } else if (!node.overload) {
      add_arithmetic(node);
    } else {
      add_operator(node);
    }
    const auto scope =
        node.scope.empty() ? nullptr : c10::make_intrusive<torch::jit::Scope>()->push(c10::Symbol::scope(node.scope));
    for (Node* made = before == nullptr ? *graph_->nodes().begin() : before->next();
         made != graph_->return_node() && scope; made = made->next()) {
      if (made->kind().is_aten()) made->setScope(scope);
    }
    for (const auto& [value, path, element] : node.names) {
      if (is_tensor(values_.at(value))) marks.push_back({values_.at(value), last_node(), path, element});
    }
  }

  Node* last_node() {
    Node* last = graph_->return_node()->prev();
    return last->kind() == c10::prim::Param ? nullptr : last;
  }

  void add_operator(const ProgramNode& node) {
    const auto symbol = c10::Symbol::fromQualString(node.op);
    const c10::FunctionSchema* schema = find_schema(symbol, *node.overload);
    // Python takes a number for a tensor: `add.Tensor(x, 1)`. TorchScript has an overload for it.
    if (schema != nullptr && takes_number_for_tensor(node, *schema)) {
      auto overload = *node.overload;
      const auto found = overload.find("Tensor");
      if (found != std::string::npos) overload.replace(found, 6, "Scalar");
      const auto* of_number = find_schema(symbol, overload);
      if (of_number != nullptr && !takes_number_for_tensor(node, *of_number)) schema = of_number;
    }
    if (schema == nullptr || schema->is_vararg()) {
      throw EngineError("UNSUPPORTED_MODEL", path_ + " uses the operator " + full_name(node) +
                                                 ", which this LibTorch does not have; export the model with the "
                                                 "release of PyTorch that LibTorch is of.");
    }
    for (const auto& [name, argument] : node.inputs) {
      if (!schema->argumentIndexWithName(name)) refuse(node, "an argument " + name + ", which it does not have");
    }
    std::vector<Value*> inputs;
    for (const auto& argument : schema->arguments()) inputs.push_back(value_for(node, argument));
    Node* made = graph_->insertNode(graph_->create(symbol, inputs, schema->returns().size()));
    for (size_t i = 0; i < schema->returns().size(); ++i) made->outputs()[i]->setType(schema->returns()[i].type());
    const auto* found = made->maybeOperator();
    if (found == nullptr || found->schema().overload_name() != schema->overload_name())
      refuse(node, "arguments that are not those of its kind");
    take_outputs(node, made->outputs());
  }

  static const c10::FunctionSchema* find_schema(c10::Symbol symbol, const std::string& overload) {
    for (const auto& candidate : torch::jit::getAllOperatorsFor(symbol)) {
      if (candidate->schema().overload_name() == overload) return &candidate->schema();
    }
    return nullptr;
  }

  bool takes_number_for_tensor(const ProgramNode& node, const c10::FunctionSchema& schema) const {
    for (const auto& [name, given] : node.inputs) {
      const auto i = schema.argumentIndexWithName(name);
      if (!i || schema.arguments()[static_cast<size_t>(*i)].type()->kind() != c10::TypeKind::TensorType) continue;
      if (is_number(given)) return true;
    }
    return false;
  }

  bool is_number(const ProgramArgument& given) const {
    using Kind = ProgramArgument::Kind;
    if (given.kind == Kind::Value) return !is_tensor(values_.at(given.text));
    return given.kind == Kind::Int || given.kind == Kind::Float || given.kind == Kind::Bool;
  }

  Value* value_for(const ProgramNode& node, const c10::Argument& argument) {
    for (const auto& [name, given] : node.inputs) {
      if (name != argument.name()) continue;
      // In front of the operator there is no overload for it: `sub.Tensor(1, x)`.
      if (argument.type()->kind() == c10::TypeKind::TensorType && is_number(given))
        return graph_->insert(c10::prim::NumToTensor, {number(node, given)});
      try {
        return argument_value(*graph_, given, argument.type(), argument.N(), values_);
      } catch (const ArgumentFault& fault) {
        refuse(node, "for " + name + " " + fault.what());
      }
    }
    if (!argument.default_value()) refuse(node, "nothing for " + argument.name());
    return graph_->insertConstant(*argument.default_value());
  }

  // On whole numbers: which overload it is follows from what it is given.
  void add_arithmetic(const ProgramNode& node) {
    std::vector<torch::jit::NamedValue> inputs;
    for (const auto& [name, argument] : node.inputs) inputs.emplace_back(number(node, argument));
    Value* result = nullptr;
    try {
      result = graph_->insert(c10::Symbol::fromQualString(node.op), inputs);
    } catch (const EngineError&) {
      throw;
    } catch (const std::exception&) {
      refuse(node, "numbers that it does not take");
    }
    take_outputs(node, at::ArrayRef<Value*>(&result, 1));
  }

  Value* number(const ProgramNode& node, const ProgramArgument& argument) {
    if (argument.kind == ProgramArgument::Kind::Value) {
      Value* value = values_.at(argument.text);
      if (is_tensor(value)) refuse(node, "a tensor, where it takes numbers");
      return value;
    }
    try {
      return argument_value(*graph_, argument, c10::NumberType::get(), {}, values_);
    } catch (const ArgumentFault& fault) {
      refuse(node, fault.what());
    }
  }

  // What tracing took for granted, as a branch that ends the run.
  void assert_true(const ProgramNode& node) {
    if (node.inputs.empty()) refuse(node, "nothing to check");
    Value* condition = number(node, node.inputs[0].second);
    if (condition->type()->kind() != c10::TypeKind::BoolType)
      condition = graph_->insert(c10::Symbol::aten("Bool"), {condition});
    Node* branch = graph_->insertNode(graph_->create(c10::prim::If, {condition}, 0));
    branch->addBlock();
    WithInsertPoint otherwise(branch->addBlock());
    Value* message = graph_->insertConstant("it was exported for other sizes");
    Value* none = graph_->insertConstant(c10::IValue());
    graph_->insertNode(graph_->create(c10::prim::RaiseException, {message, none}, 0));
  }

  void take_outputs(const ProgramNode& node, at::ArrayRef<Value*> outputs) {
    if (node.outputs.size() > outputs.size()) refuse(node, "more outputs than it has");
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const auto& [is_list, names] = node.outputs[i];
      if (names.empty()) continue;
      if (!is_list) {
        if (outputs[i]->type()->kind() == c10::TypeKind::ListType) refuse(node, "one output, where it gives a list");
        values_[names[0]] = outputs[i];
        continue;
      }
      const auto list = outputs[i]->type()->cast<c10::ListType>();
      if (!list) refuse(node, "a list of outputs, where it gives one");
      Node* unpack = graph_->insertNode(graph_->createListUnpack(outputs[i], names.size()));
      for (size_t j = 0; j < names.size(); ++j) values_[names[j]] = unpack->outputs()[j];
    }
  }

  void return_outputs() {
    std::vector<Value*> keys, given;
    for (const auto& [name, value] : program_.outputs) {
      Value* output = values_.at(value);
      if (!is_tensor(output)) continue;
      if (!name && program_.outputs.size() == 1) {
        graph_->registerOutput(output);
        return;
      }
      keys.push_back(graph_->insertConstant(name.value_or("output")));
      given.push_back(output);
    }
    if (given.empty())
      throw EngineError("UNSUPPORTED_MODEL", path_ + " returns no tensor; export a model that returns its scores.");
    Node* dict = graph_->insertNode(graph_->createDict(c10::StringType::get(), c10::TensorType::get(), keys, given));
    graph_->registerOutput(dict->output());
  }

  static std::string full_name(const ProgramNode& node) {
    return node.op + (node.overload.value_or("").empty() ? "" : "." + *node.overload);
  }

  [[noreturn]] void refuse(const ProgramNode& node, const std::string& what) const {
    throw EngineError("UNTRUSTED_ARCHIVE", path_ + " is damaged or forged: the operator " + full_name(node) +
                                               " is given " + what + "; export the model again.");
  }

  const ExportedProgram& program_;
  const std::string& path_;
  std::shared_ptr<Graph> graph_;
  Value* self_;
  ProgramValues values_;
  std::map<std::string, Value*> attributes_;
};

}  // namespace

BuiltProgram build_program(const ExportedProgram& program, const std::string& path, at::Device device,
                           at::ScalarType dtype) {
  const at::NoGradGuard no_gradients;
  ModuleTree tree;
  std::vector<const TensorPart*> parts;
  std::vector<std::string> names;
  for (const auto& tensor : program.tensors) {
    parts.push_back(&tensor.part);
    names.push_back(tensor.name);
  }
  const auto numbers = mapped_tensors(program.file, parts, names);
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    auto options = numbers[i].options().device(device);
    // Straight to the model's own type, so that nothing is there in two types at a time.
    if (numbers[i].is_floating_point()) options = options.dtype(dtype);
    tree.add(program.tensors[i], numbers[i].to(options), path);
  }
  Module& root = tree.root();
  Builder builder(program, path, root);
  const auto graph = builder.build();
  const auto unit = root._ivalue()->compilation_unit();
  auto* forward = unit->create_function(c10::QualifiedName(*root.type()->name(), "forward"), graph);
  root.type()->addMethod(forward);
  return {root, std::move(builder.marks)};
}

void mark_outputs(const BuiltProgram& built) {
  if (built.marks.empty()) return;
  Graph& graph = *built.marks[0].value->owningGraph();
  // Of several marks after one node the first is the innermost module's: each goes behind the one before.
  std::map<Node*, Node*> last;
  std::map<Value*, Value*> marked;
  for (const auto& [value, after, path, element] : built.marks) {
    Node*& previous = last.emplace(after, after).first->second;
    Value*& current = marked.emplace(value, value).first->second;
    const WithInsertPoint point(previous->next());
    Value* path_value = graph.insertConstant(path);
    Value* element_value = graph.insertConstant(element);
    Value* mark = graph.insert(mark_symbol(), {current, path_value, element_value});
    current->replaceAllUsesAfterNodeWith(mark->node(), mark);
    current = mark;
    previous = mark->node();
  }
}

}  // namespace sightline
