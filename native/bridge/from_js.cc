#include "bridge/from_js.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>

namespace sightline {

namespace {

std::vector<int> ints(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<int> result;
  for (uint32_t i = 0; i < array.Length(); ++i) result.push_back(array.Get(i).As<Napi::Number>().Int32Value());
  return result;
}

std::vector<int64_t> longs(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<int64_t> result;
  for (uint32_t i = 0; i < array.Length(); ++i) result.push_back(array.Get(i).As<Napi::Number>().Int64Value());
  return result;
}

std::string text(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::String>().Utf8Value();
}

int64_t integer(const Napi::Object& object, const char* name) {
  return object.Get(name).As<Napi::Number>().Int64Value();
}

Attribute attribute(const Napi::Value& value) {
  if (value.IsBoolean()) return value.As<Napi::Boolean>().Value();
  if (value.IsNumber()) return value.As<Napi::Number>().DoubleValue();
  if (value.IsString()) return value.As<Napi::String>().Utf8Value();
  const auto array = value.As<Napi::Array>();
  std::vector<double> numbers;
  for (uint32_t i = 0; i < array.Length(); ++i) numbers.push_back(array.Get(i).As<Napi::Number>().DoubleValue());
  return numbers;
}

Tap::Kind tap_kind(const std::string& name) {
  static const std::map<std::string, Tap::Kind> kinds = {
      {"logits", Tap::Kind::Logits},     {"image", Tap::Kind::Image},
      {"node", Tap::Kind::Node},         {"attention", Tap::Kind::Attention},
      {"query", Tap::Kind::Query},       {"key", Tap::Kind::Key},
      {"value", Tap::Kind::Value},       {"output", Tap::Kind::Output},
      {"residual", Tap::Kind::Residual}, {"residual-mid", Tap::Kind::ResidualMid},
      {"patches", Tap::Kind::Patches}};
  const auto found = kinds.find(name);
  if (found == kinds.end()) throw EngineError("INTERNAL", "There is no tap '" + name + "'.");
  return found->second;
}

Tap tap_from_js(const Napi::Object& object) {
  Tap tap{tap_kind(text(object, "kind")), {}, -1};
  if (tap.kind == Tap::Kind::Node || tap.kind == Tap::Kind::Patches) tap.node = text(object, "node");
  if (object.Has("site")) tap.site = integer(object, "site");
  return tap;
}

// A copy of a Float32Array as a tensor.
at::Tensor tensor_from_js(const Napi::Value& values, const Napi::Value& shape) {
  const auto data = values.As<Napi::Float32Array>();
  auto tensor = at::empty(longs(shape), at::kFloat);
  if (tensor.numel() != static_cast<int64_t>(data.ElementLength())) {
    throw EngineError("INVALID_INPUT", "A tensor holds " + std::to_string(data.ElementLength()) +
                                           " values, but its shape asks for " + std::to_string(tensor.numel()) + ".");
  }
  std::memcpy(tensor.data_ptr(), data.Data(), data.ByteLength());
  return tensor;
}

Block block_from_js(const Napi::Object& object);

Step step_from_js(const Napi::Object& object) {
  Step step;
  step.op = text(object, "op");
  step.inputs = ints(object.Get("inputs"));
  step.outputs = ints(object.Get("outputs"));
  step.where = text(object, "where");
  const auto settings = object.Get("settings").As<Napi::Object>();
  const auto names = settings.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); ++i) {
    const auto name = names.Get(i).As<Napi::String>();
    step.attributes.set(name.Utf8Value(), attribute(settings.Get(name)));
  }
  if (object.Has("taps")) {
    const auto taps = object.Get("taps").As<Napi::Array>();
    for (uint32_t i = 0; i < taps.Length(); ++i) {
      const auto entry = taps.Get(i).As<Napi::Object>();
      step.taps.push_back({tap_from_js(entry), entry.Get("gradient").ToBoolean().Value()});
    }
  }
  if (object.Has("replaces")) {
    const auto taps = object.Get("replaces").As<Napi::Array>();
    for (uint32_t i = 0; i < taps.Length(); ++i) step.replaces.push_back(tap_from_js(taps.Get(i).As<Napi::Object>()));
  }
  if (object.Has("body")) step.body = std::make_shared<Block>(block_from_js(object.Get("body").As<Napi::Object>()));
  if (object.Has("data")) step.constant = tensor_from_js(object.Get("data"), object.Get("shape"));
  return step;
}

Block block_from_js(const Napi::Object& object) {
  Block block;
  block.registers = object.Get("registers").As<Napi::Number>().Int32Value();
  block.parameters = ints(object.Get("parameters"));
  block.results = ints(object.Get("results"));
  const auto steps = object.Get("steps").As<Napi::Array>();
  for (uint32_t i = 0; i < steps.Length(); ++i) block.steps.push_back(step_from_js(steps.Get(i).As<Napi::Object>()));
  return block;
}

}  // namespace

TensorPart part_from_js(Napi::Object part) {
  return {integer(part, "file"),    integer(part, "begin"),
          integer(part, "end"),     text(part, "dtype"),
          longs(part.Get("shape")), part.Has("strides") ? longs(part.Get("strides")) : std::vector<int64_t>{}};
}

Shuffling shuffling_from_js(Napi::Object object) {
  Shuffling shuffling;
  shuffling.seed = static_cast<uint64_t>(integer(object, "seed"));
  const auto layers = object.Get("layers").As<Napi::Array>();
  for (uint32_t i = 0; i < layers.Length(); ++i) {
    shuffling.layers.push_back(layers.Get(i).As<Napi::String>().Utf8Value());
  }
  return shuffling;
}

WeightPlan weights_from_js(Napi::Object object) {
  WeightPlan plan;
  const auto array = [](Napi::Object from, const char* name) { return from.Get(name).As<Napi::Array>(); };
  const auto files = array(object, "files"), assignments = array(object, "assignments");
  for (uint32_t i = 0; i < files.Length(); ++i) plan.files.push_back(files.Get(i).As<Napi::String>());
  for (uint32_t i = 0; i < assignments.Length(); ++i) {
    const auto given = assignments.Get(i).As<Napi::Object>();
    Assignment assignment{text(given, "name"), longs(given.Get("shape")), {}};
    const auto parts = array(given, "parts");
    for (uint32_t j = 0; j < parts.Length(); ++j)
      assignment.parts.push_back(part_from_js(parts.Get(j).As<Napi::Object>()));
    plan.assignments.push_back(std::move(assignment));
  }
  if (object.Has("layerNormEps")) plan.layer_norm_eps = object.Get("layerNormEps").As<Napi::Number>().DoubleValue();
  return plan;
}

std::shared_ptr<Plan> plan_from_js(Napi::Object object) {
  auto plan = std::make_shared<Plan>();
  plan->method = text(object, "method");
  plan->block = block_from_js(object.Get("block").As<Napi::Object>());
  plan->output = text(object, "output");
  plan->logits = object.Get("logits").As<Napi::Number>().Int32Value();
  plan->memory = integer(object, "memory");
  const auto outputs = object.Get("outputs").As<Napi::Array>();
  for (uint32_t i = 0; i < outputs.Length(); ++i) {
    const auto output = outputs.Get(i).As<Napi::Object>();
    plan->outputs.push_back({text(output, "name"), output.Get("value").As<Napi::Number>().Int32Value()});
  }
  plan->schedule();
  return plan;
}

std::unique_ptr<Request> request_from_js(Napi::Object object) {
  auto request = std::make_unique<Request>();
  request->label = text(object, "label");
  request->height = integer(object, "height");
  request->width = integer(object, "width");
  request->targets = longs(object.Get("targets"));
  const auto against = object.Get("against").As<Napi::Array>();
  for (uint32_t i = 0; i < against.Length(); ++i) {
    const auto value = against.Get(i);
    request->against.push_back(value.IsNull() ? kNoClass : value.As<Napi::Number>().Int64Value());
  }
  if (object.Has("given")) {
    const auto given = object.Get("given").As<Napi::Object>();
    const auto names = given.GetPropertyNames();
    for (uint32_t i = 0; i < names.Length(); ++i) {
      const auto name = names.Get(i).As<Napi::String>();
      const auto entry = given.Get(name).As<Napi::Object>();
      request->given[name.Utf8Value()] = tensor_from_js(entry.Get("data"), entry.Get("shape"));
    }
  }
  // Neither pixels nor tensors are copied: the caller keeps them unchanged, and holds them until the request is settled.
  if (object.Has("preprocessing")) {
    const auto how = object.Get("preprocessing").As<Napi::Object>();
    const auto triple = [&](const char* name) {
      const auto values = how.Get(name).As<Napi::Array>();
      std::array<double, 3> result{};
      for (uint32_t i = 0; i < 3; ++i) result[i] = values.Get(i).As<Napi::Number>().DoubleValue();
      return result;
    };
    request->preprocessing = Preprocessing{integer(how, "resizedWidth"),
                                           integer(how, "resizedHeight"),
                                           integer(how, "left"),
                                           integer(how, "top"),
                                           request->width,
                                           request->height,
                                           text(how, "interpolation") == "bicubic",
                                           triple("mean"),
                                           triple("std"),
                                           text(how, "channels") == "gray",
                                           text(how, "channels") == "bgr"};
    auto data = object.Get("pixels").As<Napi::Uint8Array>();
    request->pixels =
        at::from_blob(data.Data(), {integer(object, "sourceHeight"), integer(object, "sourceWidth"), 3}, at::kByte);
  } else {
    auto data = object.Get("tensor").As<Napi::Float32Array>();
    const int64_t channels = static_cast<int64_t>(data.ElementLength()) / (request->height * request->width);
    request->tensor = at::from_blob(data.Data(), {channels, request->height, request->width}, at::kFloat);
  }
  return request;
}

}  // namespace sightline
