// Straightened programs give what the module gives, at batch sizes that were never traced.
#include <ATen/record_function.h>

#include "archives.h"
#include "engine/errors.h"
#include "rounding.h"
#include "runner.h"

namespace sightline::test {

namespace {

const TapRequest kLogits{{Tap::Kind::Logits, {}, -1}, false};

TapRequest node(const std::string& name, bool with_gradient = false) {
  return {{Tap::Kind::Node, name, -1}, with_gradient};
}

// How often each operator is run while `work` lasts, on this thread; only those that a graph calls, not those that they
// are made of.
std::map<std::string, int> operators_run(const std::function<void()>& work) {
  static thread_local std::map<std::string, int>* counts;
  static thread_local int depth;
  std::map<std::string, int> found;
  counts = &found;
  depth = 0;
  const auto handle =
      at::addThreadLocalCallback(at::RecordFunctionCallback(
                                     [](const at::RecordFunction& function) -> std::unique_ptr<at::ObserverContext> {
                                       // Cancel points compute nothing.
                                       if (depth++ == 0 && std::string(function.name()) != "sightline::cancel_point")
                                         (*counts)[function.name()] += 1;
                                       return nullptr;
                                     },
                                     [](const at::RecordFunction&, at::ObserverContext*) { --depth; })
                                     .scopes({at::RecordScope::FUNCTION}));
  work();
  at::removeCallback(handle);
  counts = nullptr;
  return found;
}

int total(const std::map<std::string, int>& counts) {
  int sum = 0;
  for (const auto& [name, count] : counts) sum += count;
  return sum;
}

// Those with weights.
int layers(const std::map<std::string, int>& counts) {
  int sum = 0;
  for (const char* name :
       {"aten::_convolution", "aten::conv2d", "aten::linear", "aten::addmm", "aten::batch_norm", "aten::layer_norm"}) {
    const auto found = counts.find(name);
    if (found != counts.end()) sum += found->second;
  }
  return sum;
}

}  // namespace

TEST("straighten: logits equal the module's at other batch sizes, for every archive") {
  const at::NoGradGuard no_gradients;
  for (const auto& each : archives()) {
    const auto model = each.load();
    auto& network = model->network(each.height, each.width);
    for (const int64_t batch : {1, 2, 5}) {
      const auto images = each.images(batch);
      const auto& program = network.program({kLogits});
      const auto logits = [&](const at::Tensor& input) { return program.run(model->self(), input).at(0); };
      expect_rounded(logits(images), forward(each, images), program.operators(), images, logits,
                     each.name + " at batch " + std::to_string(batch));
    }
  }
}

TEST("straighten: logits stay the same when everything is tapped") {
  for (const auto& each : archives()) {
    const auto model = each.load();
    auto& network = model->network(each.height, each.width);
    std::vector<TapRequest> requests{kLogits};
    for (const auto& info : network.info().nodes) requests.push_back(node(info.name));
    for (size_t site = 0; site < network.info().attention.size(); ++site) {
      if (!network.info().attention[site].unsupported.empty()) continue;
      for (const auto kind : {Tap::Kind::Attention, Tap::Kind::Query, Tap::Kind::Key, Tap::Kind::Value}) {
        requests.push_back({{kind, {}, static_cast<int64_t>(site)}, false});
      }
    }
    const auto images = each.images(3);
    const auto& program = network.program(requests);
    const auto outputs = program.run(model->self(), images);
    EXPECT_EQUAL(outputs.size(), requests.size());
    const at::NoGradGuard no_gradients;
    expect_rounded(
        outputs[0], forward(each, images), program.operators(), images,
        [&](const at::Tensor& input) { return program.run(model->self(), input)[0]; }, each.name);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (requests[i].tap.kind != Tap::Kind::Attention) continue;
      const auto rows = outputs[i].sum(-1);
      // Each of N shares is rounded a few times (exponential, quotient), and so is their sum, once a share.
      const auto limit = 2 * static_cast<double>(outputs[i].size(-1) + 4) * kRoundoff;
      EXPECT((rows - 1).abs().max().item<double>() <= limit, each.name, " attention rows do not sum to 1");
    }
  }
}

TEST("straighten: a model of two inputs is refused") {
  LoadOptions options;
  options.path = archives_folder() + "/two-inputs.pt";
  Model model(options, at::kCPU);
  const auto error = thrown_by([&] { model.network(32, 48); });
  EXPECT_EQUAL(error.code(), std::string("UNSUPPORTED_MODEL"));
  EXPECT(error.message().find("metadata") != std::string::npos, error.message());
}

TEST("straighten: a size that the model does not take is refused, and the model still works") {
  const auto& each = archive("conv-net");
  const auto model = each.load();
  const auto error = thrown_by([&] { model->network(each.height * 2, each.width); });
  EXPECT_EQUAL(error.code(), std::string("INVALID_INPUT"));
  EXPECT(error.message().find("48x64") != std::string::npos, error.message());
  EXPECT_EQUAL(model->network(each.height, each.width).info().classes, 7);
}

TEST("programs: an early tap runs a fraction of the operators, and just those of its graph") {
  for (const auto& each : archives()) {
    const auto model = each.load();
    auto& network = model->network(each.height, each.width);
    const auto& nodes = network.info().nodes;
    if (nodes.size() < 4) continue;
    const auto images = each.images(2);
    const auto counted = [&](const std::vector<TapRequest>& requests) {
      const auto& program = network.program(requests);
      const auto counts = operators_run([&] { program.run(model->self(), images); });
      EXPECT(total(counts) <= program.operators(), each.name, " runs ", total(counts), " operators of ",
             program.operators());
      return std::make_pair(program.operators(), layers(counts));
    };
    const auto [whole, all_layers] = counted({kLogits});
    const auto [first, first_layers] = counted({node(nodes.front().name)});
    EXPECT(first < whole / 2, each.name, ": the first node takes ", first, " operators of ", whole);
    EXPECT(first_layers <= 1, each.name, ": the first node takes ", first_layers, " layers");
    const auto [middle, middle_layers] = counted({node(nodes[nodes.size() / 2].name)});
    EXPECT(first <= middle && middle < whole, each.name, ": ", first, ", ", middle, ", ", whole);
    if (!each.is_quantised)
      EXPECT(middle_layers < all_layers, each.name, ": ", middle_layers, " layers of ", all_layers);
  }
}

TEST("programs: blocks of a ViT run just their layers, and attention is opened only where it is tapped") {
  const auto& each = archive("timm-vit-fused-traced");
  const auto model = each.load();
  auto& network = model->network(each.height, each.width);
  const auto images = each.images(2);
  const auto counted = [&](const std::vector<TapRequest>& requests) {
    auto counts = operators_run([&] { network.program(requests).run(model->self(), images); });
    return std::array<int, 3>{counts["aten::linear"] + counts["sightline::packed_linear"],
                              counts["aten::scaled_dot_product_attention"], counts["aten::softmax"]};
  };
  const auto attention = [](int64_t site) { return TapRequest{{Tap::Kind::Attention, {}, site}, false}; };
  using Counts = std::array<int, 3>;
  // Queries, keys and values in one layer, projection, and two in the perceptron: four a block.
  EXPECT(counted({node("patch_embed")}) == Counts({0, 0, 0}));
  EXPECT(counted({node("blocks.0")}) == Counts({4, 1, 0}));
  EXPECT(counted({node("blocks.1")}) == Counts({8, 2, 0}));
  EXPECT(counted({kLogits}) == Counts({9, 2, 0}));
  EXPECT(counted({attention(0)}) == Counts({1, 0, 1}));
  EXPECT(counted({attention(1)}) == Counts({5, 1, 1}));
  EXPECT(counted({attention(0), attention(1)}) == Counts({5, 0, 2}));
  EXPECT(counted({kLogits, attention(1)}) == Counts({9, 1, 1}));
}

TEST("programs: layer1, layer2 and layer3 of a ResNet run just their convolutions") {
  const auto& each = archive("torchvision-resnet-traced");
  const auto model = each.load();
  auto& network = model->network(each.height, each.width);
  const auto images = each.images(2);
  const auto convolutions = [&](const std::vector<TapRequest>& requests) {
    const auto counts = operators_run([&] { network.program(requests).run(model->self(), images); });
    int sum = 0;
    for (const auto& [name, count] : counts)
      sum +=
          name == "aten::_convolution" || name == "aten::conv2d" || name == "sightline::packed_convolution" ? count : 0;
    return sum;
  };
  int named = 0, last = 0;
  for (const char* layer : {"layer1", "layer2", "layer3", "layer4"}) {
    // The stem's, and those of every block up to here: conv1.. and a downsampling one.
    int expected = 0;
    bool is_over = false;
    for (const auto& info : network.info().nodes) {
      const bool is_convolution =
          info.name.find("conv") != std::string::npos || info.name.find("downsample.0") != std::string::npos;
      if (!is_over && is_convolution) ++expected;
      is_over = is_over || info.name == layer;
    }
    if (!is_over) continue;
    ++named;
    const int found = convolutions({node(layer)});
    EXPECT_EQUAL(found, expected, layer);
    EXPECT(found > last, layer);
    last = found;
  }
  EXPECT(named >= 2, "the archive has no layers");
  EXPECT_EQUAL(convolutions({kLogits}), last);
}

}  // namespace sightline::test
