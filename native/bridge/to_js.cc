#include "bridge/to_js.h"

#include <cstring>
#include <map>

namespace sightline {

namespace {

// Below this, copying into V8's heap costs less than a foreign buffer's bookkeeping.
constexpr size_t kExternalBytes = 64 * 1024;

Napi::Array array_to_js(Napi::Env env, const std::vector<int64_t>& values) {
  auto array = Napi::Array::New(env, values.size());
  for (size_t i = 0; i < values.size(); ++i)
    array.Set(static_cast<uint32_t>(i), Napi::Number::New(env, static_cast<double>(values[i])));
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
  object.Set("gradientObstacle", info.gradient_obstacle);
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
  std::map<std::vector<int64_t>, Napi::Array> orders;  // many nodes of a model have the same
  for (size_t i = 0; i < info.nodes.size(); ++i) {
    auto node = Napi::Object::New(env);
    node.Set("name", info.nodes[i].name);
    node.Set("shape", array_to_js(env, info.nodes[i].sizes));
    node.Set("layout", layout_name(info.nodes[i].layout));
    node.Set("operator", info.nodes[i].op);
    node.Set("hasBias", info.nodes[i].bias.defined());
    node.Set("flopsAfter", count_to_js(env, info.nodes[i].flops_after));
    node.Set("bytesAfter", static_cast<double>(info.nodes[i].bytes_after));
    node.Set("gradientObstacle", info.nodes[i].gradient_obstacle);
    if (const auto& grid = info.nodes[i].grid) {
      auto entry = Napi::Object::New(env);
      entry.Set("height", static_cast<double>(grid->height));
      entry.Set("width", static_cast<double>(grid->width));
      entry.Set("prefix", static_cast<double>(grid->prefix));
      entry.Set("suffix", static_cast<double>(grid->suffix));
      entry.Set("order", env.Null());
      if (!grid->order.empty()) {
        auto known = orders.find(grid->order);
        if (known == orders.end()) known = orders.emplace(grid->order, array_to_js(env, grid->order)).first;
        entry.Set("order", known->second);
      }
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
    entry.Set("unsupported", site.unsupported);
    entry.Set("altered", site.altered);
    entry.Set("gradientObstacle", site.gradient_obstacle);
    entry.Set("isInStream", site.is_in_stream);
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
    tokens.Set("classToken", info.tokens->class_token
                                 ? Napi::Number::New(env, static_cast<double>(*info.tokens->class_token))
                                 : env.Null());
    tokens.Set("isReadKnown", info.tokens->is_read_known);
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
