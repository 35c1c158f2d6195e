#include "bridge/marshal.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>

namespace sightline {

namespace {

// Below this, copying into V8's heap costs less than a foreign buffer's bookkeeping.
constexpr size_t kExternalBytes = 64 * 1024;

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

std::string text(const Napi::Object& object, const char* name) { return object.Get(name).As<Napi::String>().Utf8Value(); }

int64_t integer(const Napi::Object& object, const char* name) { return object.Get(name).As<Napi::Number>().Int64Value(); }

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
      {"logits", Tap::Kind::Logits}, {"image", Tap::Kind::Image}, {"node", Tap::Kind::Node},
      {"attention", Tap::Kind::Attention}, {"query", Tap::Kind::Query}, {"key", Tap::Kind::Key},
      {"value", Tap::Kind::Value}, {"output", Tap::Kind::Output}, {"residual", Tap::Kind::Residual}, {"mixed", Tap::Kind::Mixed}};
  const auto found = kinds.find(name);
  if (found == kinds.end()) throw EngineError("INTERNAL", "There is no tap '" + name + "'.");
  return found->second;
}

Tap tap_from_js(const Napi::Object& object) {
  Tap tap{tap_kind(text(object, "kind")), {}, -1};
  if (tap.kind == Tap::Kind::Node) tap.node = text(object, "node");
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

Napi::Array array_to_js(Napi::Env env, const std::vector<int64_t>& values) {
  auto array = Napi::Array::New(env, values.size());
  for (size_t i = 0; i < values.size(); ++i) array.Set(static_cast<uint32_t>(i), Napi::Number::New(env, static_cast<double>(values[i])));
  return array;
}

Napi::ArrayBuffer buffer_to_js(Napi::Env env, const at::Tensor& tensor) {
  const size_t bytes = tensor.nbytes();
  // A part of a batch is copied: handed over, it would keep the whole batch alive.
  if (bytes >= kExternalBytes && tensor.storage().nbytes() == bytes) {
    auto* owner = new at::Tensor(tensor);
    try {
      return Napi::ArrayBuffer::New(env, tensor.data_ptr(), bytes, [owner](Napi::BasicEnv, void*) { delete owner; });
    } catch (const Napi::Error&) {
      // Electron and other sandboxed builds of V8 allow no foreign memory: copied below.
      delete owner;
    }
  }
  auto buffer = Napi::ArrayBuffer::New(env, bytes);
  std::memcpy(buffer.Data(), tensor.data_ptr(), bytes);
  return buffer;
}

Napi::Value count_to_js(Napi::Env env, const std::optional<int64_t>& count) {
  return count ? Napi::Number::New(env, static_cast<double>(*count)) : env.Null();
}

}  // namespace

WeightPlan weights_from_js(Napi::Object object) {
  WeightPlan plan;
  const auto array = [](Napi::Object from, const char* name) { return from.Get(name).As<Napi::Array>(); };
  const auto sizes = [&](Napi::Object from) {
    const auto shape = array(from, "shape");
    std::vector<int64_t> found(shape.Length());
    for (uint32_t i = 0; i < shape.Length(); ++i) found[i] = shape.Get(i).As<Napi::Number>().Int64Value();
    return found;
  };
  const auto files = array(object, "files"), assignments = array(object, "assignments");
  for (uint32_t i = 0; i < files.Length(); ++i) plan.files.push_back(files.Get(i).As<Napi::String>());
  for (uint32_t i = 0; i < assignments.Length(); ++i) {
    const auto given = assignments.Get(i).As<Napi::Object>();
    Assignment assignment{given.Get("name").As<Napi::String>(), sizes(given), {}};
    const auto parts = array(given, "parts");
    for (uint32_t j = 0; j < parts.Length(); ++j) {
      const auto part = parts.Get(j).As<Napi::Object>();
      const auto number = [&](const char* name) { return part.Get(name).As<Napi::Number>().Int64Value(); };
      assignment.parts.push_back({number("file"), number("begin"), number("end"), part.Get("dtype").As<Napi::String>(), sizes(part)});
    }
    plan.assignments.push_back(std::move(assignment));
  }
  if (object.Has("layerNormEps")) plan.layer_norm_eps = object.Get("layerNormEps").As<Napi::Number>().DoubleValue();
  return plan;
}

std::shared_ptr<Plan> plan_from_js(Napi::Object object) {
  auto plan = std::make_shared<Plan>();
  plan->method = text(object, "method");
  plan->block = block_from_js(object.Get("block").As<Napi::Object>());
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
    request->preprocessing = Preprocessing{integer(how, "resizedWidth"), integer(how, "resizedHeight"),
                                           integer(how, "left"), integer(how, "top"), request->width, request->height,
                                           text(how, "interpolation") == "bicubic", triple("mean"), triple("std"), text(how, "channels") == "gray", text(how, "channels") == "bgr"};
    auto data = object.Get("pixels").As<Napi::Uint8Array>();
    request->pixels = at::from_blob(data.Data(), {integer(object, "sourceHeight"), integer(object, "sourceWidth"), 3}, at::kByte);
  } else {
    auto data = object.Get("tensor").As<Napi::Float32Array>();
    const int64_t channels = static_cast<int64_t>(data.ElementLength()) / (request->height * request->width);
    request->tensor = at::from_blob(data.Data(), {channels, request->height, request->width}, at::kFloat);
  }
  return request;
}

Napi::Object info_to_js(Napi::Env env, const NetworkInfo& info) {
  auto object = Napi::Object::New(env);
  object.Set("height", static_cast<double>(info.height));
  object.Set("width", static_cast<double>(info.width));
  object.Set("classes", static_cast<double>(info.classes));
  object.Set("outputShape", array_to_js(env, info.output_sizes));
  auto outputs = Napi::Array::New(env, info.outputs.size());
  for (uint32_t i = 0; i < info.outputs.size(); ++i) {
    auto output = Napi::Object::New(env);
    output.Set("name", info.outputs[i].name);
    output.Set("shape", array_to_js(env, info.outputs[i].sizes));
    outputs.Set(i, output);
  }
  object.Set("outputs", outputs);
  object.Set("output", info.output);
  object.Set("scores", info.scores.empty() ? env.Null() : Napi::String::New(env, info.scores));
  object.Set("activation", info.activation.empty() ? env.Null() : Napi::String::New(env, info.activation));
  object.Set("hasModuleNames", info.has_module_names);
  object.Set("isQuantized", info.is_quantized);
  object.Set("wasTraining", info.was_training);
  object.Set("canBatch", info.can_batch);
  object.Set("imagesInteract", info.images_interact);
  object.Set("channels", static_cast<double>(info.channels));
  object.Set("isChannelsLast", info.is_channels_last);
  object.Set("unknownAttention", static_cast<double>(info.unknown_attention));
  object.Set("hasParallelAttention", info.has_parallel_attention);
  auto reasons = Napi::Object::New(env);
  for (const auto& [rule, reason] : info.rule_reasons) reasons.Set(rule, reason);
  object.Set("ruleReasons", reasons);
  object.Set("targetLayer", info.target_layer);
  object.Set("placesLostAt", env.Null());
  if (info.places_lost_at) {
    auto lost = Napi::Object::New(env);
    lost.Set("node", info.places_lost_at->node);
    lost.Set("operator", info.places_lost_at->op);
    object.Set("placesLostAt", lost);
  }
  object.Set("operators", static_cast<double>(info.operators));
  object.Set("activationBytes", static_cast<double>(info.activation_bytes));
  object.Set("flops", count_to_js(env, info.flops));
  object.Set("parameters", count_to_js(env, info.parameters));
  auto nodes = Napi::Array::New(env, info.nodes.size());
  for (size_t i = 0; i < info.nodes.size(); ++i) {
    auto node = Napi::Object::New(env);
    node.Set("name", info.nodes[i].name);
    node.Set("shape", array_to_js(env, info.nodes[i].sizes));
    node.Set("layout", layout_name(info.nodes[i].layout));
    node.Set("operator", info.nodes[i].op);
    node.Set("hasBias", info.nodes[i].bias.defined());
    node.Set("flopsAfter", count_to_js(env, info.nodes[i].flops_after));
    node.Set("bytesAfter", static_cast<double>(info.nodes[i].bytes_after));
    if (const auto& grid = info.nodes[i].grid) {
      auto entry = Napi::Object::New(env);
      entry.Set("height", static_cast<double>(grid->height));
      entry.Set("width", static_cast<double>(grid->width));
      entry.Set("prefix", static_cast<double>(grid->prefix));
      entry.Set("suffix", static_cast<double>(grid->suffix));
      node.Set("grid", entry);
    } else {
      node.Set("grid", env.Null());
    }
    nodes.Set(static_cast<uint32_t>(i), node);
  }
  object.Set("nodes", nodes);
  auto sites = Napi::Array::New(env, info.attention.size());
  for (size_t i = 0; i < info.attention.size(); ++i) {
    const auto& site = info.attention[i];
    auto entry = Napi::Object::New(env);
    entry.Set("name", site.name);
    entry.Set("form", site.form);
    entry.Set("heads", static_cast<double>(site.heads));
    entry.Set("tokens", static_cast<double>(site.tokens));
    entry.Set("keys", static_cast<double>(site.keys));
    entry.Set("headSize", static_cast<double>(site.head_size));
    entry.Set("windows", static_cast<double>(site.windows));
    entry.Set("opaque", site.opaque);
    entry.Set("altered", site.altered);
    entry.Set("flopsAfter", count_to_js(env, site.flops_after));
    entry.Set("bytesAfter", static_cast<double>(site.bytes_after));
    sites.Set(static_cast<uint32_t>(i), entry);
  }
  object.Set("attention", sites);
  if (info.tokens) {
    auto tokens = Napi::Object::New(env);
    tokens.Set("height", static_cast<double>(info.tokens->height));
    tokens.Set("width", static_cast<double>(info.tokens->width));
    tokens.Set("prefix", static_cast<double>(info.tokens->prefix));
    tokens.Set("suffix", static_cast<double>(info.tokens->suffix));
    tokens.Set("classToken", info.tokens->class_token ? Napi::Number::New(env, static_cast<double>(*info.tokens->class_token)) : env.Null());
    object.Set("tokens", tokens);
  } else {
    object.Set("tokens", env.Null());
  }
  if (info.head) {
    auto head = Napi::Object::New(env);
    head.Set("feature", info.head->feature);
    head.Set("layout", layout_name(info.head->layout));
    head.Set("channels", static_cast<double>(info.head->weight.size(1)));
    object.Set("head", head);
  } else {
    object.Set("head", env.Null());
  }
  return object;
}

Napi::Object result_to_js(Napi::Env env, const Request::Result& result) {
  auto object = Napi::Object::New(env);
  auto outputs = Napi::Object::New(env);
  for (const auto& output : result.outputs) {
    const auto& values = output.values;
    if (values.scalar_type() != at::kFloat) throw Napi::Error::New(env, "An output of the engine is not float32.");
    auto entry = Napi::Object::New(env);
    const auto buffer = buffer_to_js(env, values);
    entry.Set("data", Napi::Float32Array::New(env, static_cast<size_t>(values.numel()), buffer, 0));
    entry.Set("shape", array_to_js(env, values.sizes().vec()));
    outputs.Set(output.name, entry);
  }
  object.Set("outputs", outputs);
  object.Set("targets", array_to_js(env, result.targets));
  object.Set("against", array_to_js(env, result.against));
  object.Set("operators", static_cast<double>(result.operators));
  object.Set("chunk", static_cast<double>(result.chunk));
  object.Set("batch", static_cast<double>(result.batch));
  return object;
}

}  // namespace sightline
