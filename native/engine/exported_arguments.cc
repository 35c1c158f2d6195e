#include "engine/exported_arguments.h"

#include <torch/csrc/jit/ir/constants.h>

#include <cmath>
#include <limits>
#include <map>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Value;
using Kind = ProgramArgument::Kind;

namespace {

int64_t whole_number(double number) {
  // 2^63 stands for what lies next to it: the end of a slice that runs to the end.
  if (number >= 9223372036854775808.0) return std::numeric_limits<int64_t>::max();
  if (number <= -9223372036854775808.0) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(number);
}

int64_t dtype_code(const std::string& name) {
  static const std::map<std::string, at::ScalarType> kTypes = {{"U8", at::kByte},          {"I8", at::kChar},
                                                               {"I16", at::kShort},        {"I32", at::kInt},
                                                               {"I64", at::kLong},         {"F16", at::kHalf},
                                                               {"F32", at::kFloat},        {"F64", at::kDouble},
                                                               {"C64", at::kComplexFloat}, {"C128", at::kComplexDouble},
                                                               {"BOOL", at::kBool},        {"BF16", at::kBFloat16}};
  const auto found = kTypes.find(name);
  if (found == kTypes.end()) throw ArgumentFault("a kind of numbers that is not known");
  return static_cast<int64_t>(found->second);
}

int64_t memory_format_code(const std::string& name) {
  static const std::map<std::string, at::MemoryFormat> kFormats = {
      {"contiguous", at::MemoryFormat::Contiguous},
      {"channels-last", at::MemoryFormat::ChannelsLast},
      {"channels-last-3d", at::MemoryFormat::ChannelsLast3d},
      {"preserve", at::MemoryFormat::Preserve}};
  const auto found = kFormats.find(name);
  if (found == kFormats.end()) throw ArgumentFault("a memory format that is not known");
  return static_cast<int64_t>(found->second);
}

// A number, a word or a setting, where the schema's type takes it.
c10::IValue plain_constant(const ProgramArgument& argument, c10::TypeKind wanted) {
  const bool takes_number = wanted == c10::TypeKind::NumberType || wanted == c10::TypeKind::AnyType;
  switch (argument.kind) {
    case Kind::Int:
      if (wanted == c10::TypeKind::FloatType) return argument.number;
      if (wanted == c10::TypeKind::IntType || takes_number) return whole_number(argument.number);
      break;
    case Kind::Float:
      if (wanted == c10::TypeKind::FloatType || takes_number) return argument.number;
      break;
    case Kind::Bool:
      if (wanted == c10::TypeKind::BoolType || takes_number) return argument.number != 0;
      break;
    case Kind::Text:
      if (wanted == c10::TypeKind::StringType) return argument.text;
      break;
    case Kind::Dtype:
      if (wanted == c10::TypeKind::IntType) return dtype_code(argument.text);
      break;
    case Kind::MemoryFormat:
      if (wanted == c10::TypeKind::IntType) return memory_format_code(argument.text);
      break;
    case Kind::Device:
      // Whatever it was exported on: graphs are moved to the model's own device.
      if (wanted == c10::TypeKind::DeviceObjType) return at::Device(at::kCPU);
      break;
    default:
      break;
  }
  throw ArgumentFault("something of another kind than the operator takes");
}

Value* named_value(Graph& graph, const std::string& name, const c10::TypePtr& type, const ProgramValues& values) {
  const auto found = values.find(name);
  if (found == values.end()) throw ArgumentFault("a value that nothing gives");
  Value* value = found->second;
  if (value->type()->isSubtypeOf(*type)) return value;
  if (type->kind() == c10::TypeKind::FloatType && value->type()->kind() == c10::TypeKind::IntType)
    return graph.insert(c10::Symbol::aten("Float"), {value});
  throw ArgumentFault("a value of another kind than the operator takes");
}

}  // namespace

Value* argument_value(Graph& graph, const ProgramArgument& argument, const c10::TypePtr& type,
                      std::optional<int32_t> length, const ProgramValues& values) {
  if (const auto optional = type->cast<c10::OptionalType>()) {
    if (argument.kind == Kind::None) return graph.insertConstant(c10::IValue());
    return argument_value(graph, argument, optional->getElementType(), length, values);
  }
  if (argument.kind == Kind::None) {
    // A layout that is left out, where the schema has one.
    throw ArgumentFault("nothing, where it needs something");
  }
  if (const auto list = type->cast<c10::ListType>()) {
    const auto& element = list->getElementType();
    std::vector<Value*> items;
    if (argument.kind == Kind::List) {
      for (const auto& item : argument.items) items.push_back(argument_value(graph, item, element, {}, values));
    } else if (length) {
      // `stride=2` for [2, 2].
      for (int32_t i = 0; i < *length; ++i) items.push_back(argument_value(graph, argument, element, {}, values));
    } else {
      throw ArgumentFault("one value, where it needs a list");
    }
    return graph.insertNode(graph.createList(element, items))->output();
  }
  if (argument.kind == Kind::List) throw ArgumentFault("a list, where it needs one value");
  if (argument.kind == Kind::Value) return named_value(graph, argument.text, type, values);
  return graph.insertConstant(plain_constant(argument, type->kind()));
}

}  // namespace sightline
