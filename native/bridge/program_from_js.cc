#include "bridge/program_from_js.h"

#include <map>

#include "bridge/from_js.h"
#include "engine/errors.h"

namespace sightline {

namespace {

using Kind = ProgramArgument::Kind;

std::string text_of(const Napi::Value& value) { return value.As<Napi::String>().Utf8Value(); }

// Calls `read` with each element.
template <typename Read>
void each(const Napi::Value& list, Read read) {
  const auto array = list.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); ++i) {
    // Thousands of operators, each with a dozen values: none need be kept for longer than its turn.
    const Napi::HandleScope scope(array.Env());
    read(array.Get(i));
  }
}

ProgramArgument argument_from_js(const Napi::Object& object) {
  static const std::map<std::string, Kind> kKinds = {
      {"none", Kind::None},   {"value", Kind::Value},   {"int", Kind::Int},
      {"float", Kind::Float}, {"bool", Kind::Bool},     {"text", Kind::Text},
      {"dtype", Kind::Dtype}, {"device", Kind::Device}, {"memory-format", Kind::MemoryFormat},
      {"list", Kind::List}};
  const auto kind = text_of(object.Get("kind"));
  const auto found = kKinds.find(kind);
  if (found == kKinds.end()) throw EngineError("INTERNAL", "There is no argument of the kind '" + kind + "'.");
  ProgramArgument argument;
  argument.kind = found->second;
  if (object.Has("text")) argument.text = text_of(object.Get("text"));
  if (object.Has("number")) argument.number = object.Get("number").As<Napi::Number>().DoubleValue();
  if (object.Has("items")) {
    each(object.Get("items"),
         [&](const Napi::Value& item) { argument.items.push_back(argument_from_js(item.As<Napi::Object>())); });
  }
  return argument;
}

ProgramNode node_from_js(const Napi::Object& object) {
  ProgramNode node;
  node.op = text_of(object.Get("operator"));
  if (const auto overload = object.Get("overload"); !overload.IsNull()) node.overload = text_of(overload);
  each(object.Get("inputs"), [&](const Napi::Value& input) {
    const auto pair = input.As<Napi::Array>();
    node.inputs.emplace_back(text_of(pair.Get(0u)), argument_from_js(pair.Get(1u).As<Napi::Object>()));
  });
  each(object.Get("outputs"), [&](const Napi::Value& output) {
    ProgramNode::Output read;
    read.is_list = output.IsArray();
    if (read.is_list) {
      each(output, [&](const Napi::Value& name) { read.names.push_back(text_of(name)); });
    } else if (!output.IsNull()) {
      read.names.push_back(text_of(output));
    }
    node.outputs.push_back(std::move(read));
  });
  node.scope = text_of(object.Get("scope"));
  each(object.Get("names"), [&](const Napi::Value& value) {
    const auto name = value.As<Napi::Object>();
    node.names.push_back(
        {text_of(name.Get("value")), text_of(name.Get("path")), name.Get("element").As<Napi::Number>().Int64Value()});
  });
  return node;
}

}  // namespace

ExportedProgram program_from_js(Napi::Object object) {
  ExportedProgram program;
  program.file = text_of(object.Get("file"));
  program.image = text_of(object.Get("image"));
  program.is_for_one_image = object.Get("isForOneImage").ToBoolean();
  each(object.Get("tensors"), [&](const Napi::Value& value) {
    const auto tensor = value.As<Napi::Object>();
    program.tensors.push_back({text_of(tensor.Get("value")), text_of(tensor.Get("name")),
                               text_of(tensor.Get("kind")) == "parameter",
                               part_from_js(tensor.Get("part").As<Napi::Object>())});
  });
  each(object.Get("nodes"),
       [&](const Napi::Value& value) { program.nodes.push_back(node_from_js(value.As<Napi::Object>())); });
  each(object.Get("outputs"), [&](const Napi::Value& value) {
    const auto output = value.As<Napi::Object>();
    const auto name = output.Get("name");
    program.outputs.emplace_back(name.IsNull() ? std::nullopt : std::optional(text_of(name)),
                                 text_of(output.Get("value")));
  });
  return program;
}

}  // namespace sightline
