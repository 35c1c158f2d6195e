// Tuning rewrites graphs as it should, leaves alone what it must, and never changes an answer. The graphs are by hand.
#include <ATen/record_function.h>
#include <torch/csrc/jit/ir/irparser.h>
#include <torch/csrc/jit/passes/shape_analysis.h>

#include "archives.h"
#include "engine/graph/graph_ops.h"
#include "engine/programs/tuning/packed_operators.h"
#include "engine/programs/tuning/prepared_weights.h"
#include "engine/programs/tuning/tuning.h"
#include "rounding.h"
#include "runner.h"

namespace sightline::test {

namespace {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

using Tensors = std::vector<at::Tensor>;

// One call of an operator: its name, and the sizes of its first argument.
struct Call {
  std::string name;
  std::vector<int64_t> sizes;
};

// The operators that a graph calls while `work` lasts, on this thread; not those that they are made of.
std::vector<Call> calls_of(const std::function<void()>& work) {
  static thread_local std::vector<Call>* calls;
  static thread_local int depth;
  std::vector<Call> found;
  calls = &found;
  depth = 0;
  const auto handle = at::addThreadLocalCallback(
      at::RecordFunctionCallback(
          [](const at::RecordFunction& function) -> std::unique_ptr<at::ObserverContext> {
            // Cancel points compute nothing.
            if (depth++ > 0 || std::string(function.name()) == "sightline::cancel_point") return nullptr;
            const auto inputs = function.inputs();
            const bool has_sizes = !inputs.empty() && inputs[0].isTensor() && inputs[0].toTensor().defined();
            calls->push_back(
                {function.name(), has_sizes ? inputs[0].toTensor().sizes().vec() : std::vector<int64_t>()});
            return nullptr;
          },
          [](const at::RecordFunction&, at::ObserverContext*) { --depth; })
          .needsInputs(true)
          .scopes({at::RecordScope::FUNCTION}));
  work();
  at::removeCallback(handle);
  calls = nullptr;
  return found;
}

int count_of(const std::vector<Call>& calls, const std::string& name) {
  return static_cast<int>(
      std::count_if(calls.begin(), calls.end(), [&](const Call& call) { return call.name == name; }));
}

std::string text_of(const std::vector<Call>& calls) {
  std::ostringstream text;
  for (const auto& call : calls) text << "\n" << call.name << " " << call.sizes;
  return text.str();
}

int count_nodes(const Graph& graph, const char* name) {
  int count = 0;
  for (const Node* node : graph.nodes()) count += is_aten(node, name) ? 1 : 0;
  return count;
}

int count_packed(const Graph& graph) {
  int count = 0;
  for (const Node* node : graph.nodes()) count += node->kind() == packed_convolution_symbol() ? 1 : 0;
  return count;
}

Tensors run(Graph& graph, const at::Tensor& x) {
  auto copy = graph.copy();
  torch::jit::EraseShapeInformation(copy);
  copy->lint();
  return GraphCode(std::move(copy)).run({x}, false);
}

// A graph from text whose first input is the image, and whose others become constants, with the sizes that it has on one
// image.
std::shared_ptr<Graph> graph_of(const std::string& text, const Tensors& constants, const at::Tensor& one) {
  auto graph = std::make_shared<Graph>();
  torch::jit::parseIR(text, graph.get());
  EXPECT_EQUAL(graph->inputs().size(), constants.size() + 1);
  {
    torch::jit::WithInsertPoint point(*graph->nodes().begin());
    for (size_t i = 0; i < constants.size(); ++i)
      graph->inputs()[i + 1]->replaceAllUsesWith(graph->insertConstant(constants[i]));
  }
  while (graph->inputs().size() > 1) graph->eraseInput(graph->inputs().size() - 1);

  std::vector<Value*> values;
  for (Node* node : graph->nodes()) {
    if (node->kind() != c10::prim::Constant && node->outputs().size() == 1 && is_tensor(node->output()))
      values.push_back(node->output());
  }
  const size_t first = graph->outputs().size();
  for (Value* value : values) graph->registerOutput(value);
  const auto shapes = run(*graph, one);
  while (graph->outputs().size() > first) graph->eraseOutput(graph->outputs().size() - 1);
  for (size_t i = 0; i < values.size(); ++i) values[i]->setType(c10::TensorType::create(shapes[first + i]));
  graph->inputs()[0]->setType(c10::TensorType::create(one));
  return graph;
}

at::Tensor noise(at::IntArrayRef sizes, uint64_t seed) {
  return at::randn(sizes, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat);
}

// Rewrites, and compares with what it was, for one image and for three.
void expect_unchanged(Graph& graph, const std::vector<int64_t>& sizes, const std::function<void(Graph&)>& rewrite) {
  const auto original = graph.copy();
  rewrite(graph);
  for (const int64_t batch : {1, 3}) {
    auto shape = sizes;
    shape[0] = batch;
    const auto x = noise(shape, 3);
    const auto found = run(graph, x), expected = run(*original, x);
    EXPECT_EQUAL(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      expect_rounded(
          found[i], expected[i], std::distance(original->nodes().begin(), original->nodes().end()), x,
          [&](const at::Tensor& input) { return run(*original, input)[i]; },
          "output " + std::to_string(i) + " at batch " + std::to_string(batch));
    }
  }
}

void pack(Graph& graph, PreparedWeights& weights, const std::unordered_set<const Value*>& recorded = {}) {
  pack_operators(graph, recorded, at::kFloat, weights);
}

// The settings of a convolution 3 x 3 that keeps the size, and of others, for texts.
const std::string kConvolutionSettings = R"(
  %none : NoneType = prim::Constant()
  %one : int = prim::Constant[value=1]()
  %two : int = prim::Constant[value=2]()
  %no : bool = prim::Constant[value=0]()
  %ones : int[] = prim::Constant[value=[1, 1]]()
  %twos : int[] = prim::Constant[value=[2, 2]]()
  %zeros : int[] = prim::Constant[value=[0, 0]]()
  %momentum : float = prim::Constant[value=0.1]()
  %epsilon : float = prim::Constant[value=1.]()
)";

std::string norm(const std::string& result, const std::string& of, const std::string& parts,
                 const std::string& training = "%no") {
  return "  " + result + " : Tensor = aten::batch_norm(" + of + ", " + parts + ", " + training +
         ", %momentum, %epsilon, %no)\n";
}

std::string convolution(const std::string& result, const std::string& of, const std::string& weight,
                        const std::string& bias = "%none", const std::string& stride = "%ones",
                        const std::string& padding = "%ones") {
  return "  " + result + " : Tensor = aten::conv2d(" + of + ", " + weight + ", " + bias + ", " + stride + ", " +
         padding + ", %ones, %one)\n";
}

std::string plus(const std::string& result, const std::string& a, const std::string& b,
                 const std::string& alpha = "%one") {
  return "  " + result + " : Tensor = aten::add(" + a + ", " + b + ", " + alpha + ")\n";
}

std::string relu(const std::string& result, const std::string& of) {
  return "  " + result + " : Tensor = aten::relu(" + of + ")\n";
}

const Node* only(const Graph& graph, const char* name) {
  const Node* found = nullptr;
  for (const Node* node : graph.nodes()) {
    if (!is_aten(node, name)) continue;
    EXPECT(found == nullptr, "there are several ", name);
    found = node;
  }
  EXPECT(found != nullptr, "there is no ", name);
  return found;
}

}  // namespace

// -- Prepared weights -------------------------------------------------------------------------------------------------

TEST("tuning: a prepared weight is never another's, whatever becomes of what it was made from") {
  PreparedWeights weights;
  for (int i = 0; i < 64; ++i) {
    // Freed at the end of each round: the next one is likely to lie at the same address.
    const auto source = at::full({4, 4}, i, at::kFloat);
    const auto prepared = weights.get("doubled", {source}, [&] { return source * 2; });
    EXPECT_EQUAL(prepared[0][0].item<float>(), 2.0f * static_cast<float>(i), "in round ", i);
  }
}

TEST("tuning: a weight is prepared once for all who ask, and what nobody uses any more can be let go") {
  PreparedWeights weights;
  const auto source = at::ones({8, 8});
  int made = 0;
  const auto ask = [&](const std::string& how, const at::Tensor& of) {
    return weights.get(how, {of}, [&] { return ++made, of * 2; });
  };
  auto first = ask("doubled", source);
  EXPECT(first.is_same(ask("doubled", source)));
  auto second = ask("again", first);
  EXPECT_EQUAL(made, 2);
  EXPECT_EQUAL(weights.bytes(), 2 * 64 * 4);
  // The second stands on the first, which is kept as long as the second is in use.
  first = at::Tensor();
  weights.drop_unused();
  EXPECT_EQUAL(weights.bytes(), 2 * 64 * 4);
  second = at::Tensor();
  weights.drop_unused();
  EXPECT_EQUAL(weights.bytes(), 0);
}

TEST("tuning: images of ever other sizes leave no packed weights behind") {
  const auto& each = archive("timm-resnet-traced");
  const auto model = each.load();
  const at::NoGradGuard no_gradients;
  const auto explain = [&](int64_t height) {
    model->network(height, 48)
        .program({TapRequest{{Tap::Kind::Logits, {}, -1}, false}})
        .run(model->self(), noise({1, 3, height, 48}, 5));
  };
  for (int i = 0; i < 10; ++i) explain(32 + 8 * i);
  const auto before = model->prepared_bytes();
  EXPECT(before > 0);
  for (int i = 10; i < 30; ++i) explain(32 + 8 * i);
  EXPECT(model->prepared_bytes() <= before + before / 10, before, " bytes became ", model->prepared_bytes());
}

// -- Batch norms ------------------------------------------------------------------------------------------------------

TEST("tuning: a folded batch norm has the weights that one computes by hand") {
  const auto graph =
      graph_of("graph(%x : Tensor, %w : Tensor, %b : Tensor, %g : Tensor, %s : Tensor, %m : Tensor, %v : Tensor):" +
                   kConvolutionSettings + convolution("%y", "%x", "%w", "%b", "%ones", "%zeros") +
                   norm("%z", "%y", "%g, %s, %m, %v") + "  return (%z)\n",
               {at::full({1, 1, 1, 1}, 2.0), at::tensor({1.0f}), at::tensor({3.0f}), at::tensor({0.5f}),
                at::tensor({4.0f}), at::tensor({3.0f})},
               at::ones({1, 1, 4, 4}));
  PreparedWeights weights;
  expect_unchanged(*graph, {1, 1, 4, 4}, [&](Graph& g) { fold_batch_norms(g, weights); });
  EXPECT_EQUAL(count_nodes(*graph, "batch_norm"), 0);
  // 3 / sqrt(3 + 1) = 1.5: 2 * 1.5, and (1 - 4) * 1.5 + 0.5.
  const Node* left = only(*graph, "conv2d");
  EXPECT_EQUAL(constant_of(left->input(1))->toTensor().item<float>(), 3.0f);
  EXPECT_EQUAL(constant_of(left->input(2))->toTensor().item<float>(), -4.0f);
}

TEST("tuning: batch norms without weights, of groups and of strides are folded as well") {
  const auto graph =
      graph_of("graph(%x : Tensor, %w : Tensor, %g : Tensor, %s : Tensor, %m : Tensor, %v : Tensor, %u : Tensor):" +
                   kConvolutionSettings + "  %y : Tensor = aten::conv2d(%x, %w, %none, %twos, %ones, %ones, %two)\n" +
                   norm("%z", "%y", "%none, %none, %m, %v") + convolution("%a", "%z", "%u") +
                   norm("%c", "%a", "%g, %s, %m, %v") + "  return (%c)\n",
               {noise({6, 2, 3, 3}, 1), noise({6}, 2), noise({6}, 3), noise({6}, 4), noise({6}, 5).abs(),
                noise({6, 6, 3, 3}, 6)},
               noise({1, 4, 8, 8}, 7));
  PreparedWeights weights;
  expect_unchanged(*graph, {1, 4, 8, 8}, [&](Graph& g) { fold_batch_norms(g, weights); });
  EXPECT_EQUAL(count_nodes(*graph, "batch_norm"), 0);
}

TEST("tuning: a batch norm stays where its convolution is read elsewhere, or where it counts its own batch") {
  const std::string head =
      "graph(%x : Tensor, %w : Tensor, %g : Tensor, %s : Tensor, %m : Tensor, %v : Tensor):" + kConvolutionSettings +
      convolution("%y", "%x", "%w");
  const Tensors constants{noise({4, 4, 3, 3}, 1), noise({4}, 2), noise({4}, 3), noise({4}, 4), noise({4}, 5).abs()};
  const auto one = noise({1, 4, 6, 6}, 6);
  // The second reader is the tap itself, then another operator, then a leaf of gradients.
  for (const std::string& rest :
       {norm("%z", "%y", "%g, %s, %m, %v") + "  return (%y, %z)\n",
        norm("%z", "%y", "%g, %s, %m, %v") + plus("%t", "%z", "%y") + "  return (%t)\n",
        "  %l : Tensor = sightline::leaf(%y)\n" + norm("%z", "%l", "%g, %s, %m, %v") + "  return (%z)\n"}) {
    PreparedWeights weights;
    const auto graph = graph_of(head + rest, constants, one);
    expect_unchanged(*graph, {1, 4, 6, 6}, [&](Graph& g) { fold_batch_norms(g, weights); });
    EXPECT_EQUAL(count_nodes(*graph, "batch_norm"), 1, rest);
    EXPECT_EQUAL(weights.bytes(), 0);
  }
  PreparedWeights weights;
  const auto training = graph_of(head + "  %yes : bool = prim::Constant[value=1]()\n" +
                                     norm("%z", "%y", "%g, %s, %none, %none", "%yes") + "  return (%z)\n",
                                 constants, one);
  fold_batch_norms(*training, weights);
  EXPECT_EQUAL(count_nodes(*training, "batch_norm"), 1);
}

TEST("tuning: norms that share a kernel, a mean and a scale but not the rest are folded each by itself") {
  const auto graph = graph_of(
      "graph(%x : Tensor, %w : Tensor, %g : Tensor, %m : Tensor, %s1 : Tensor, %v1 : Tensor, %s2 : Tensor, %v2 : "
      "Tensor):" +
          kConvolutionSettings + convolution("%y", "%x", "%w") + norm("%a", "%y", "%g, %s1, %m, %v1") +
          convolution("%z", "%a", "%w") + norm("%b", "%z", "%g, %s2, %m, %v2") + "  return (%b)\n",
      {noise({4, 4, 3, 3}, 1), at::ones({4}), at::zeros({4}), noise({4}, 2), noise({4}, 3).abs(), noise({4}, 4),
       noise({4}, 5).abs()},
      noise({1, 4, 6, 6}, 6));
  PreparedWeights weights;
  expect_unchanged(*graph, {1, 4, 6, 6}, [&](Graph& g) { fold_batch_norms(g, weights); });
  EXPECT_EQUAL(count_nodes(*graph, "batch_norm"), 0);
}

// -- Channels last ----------------------------------------------------------------------------------------------------

TEST("tuning: channels lie last, and a view that merges them with space becomes a reshape") {
  std::string text = "graph(%x : Tensor, %w : Tensor):" + kConvolutionSettings;
  for (int i = 0; i < 4; ++i)
    text += convolution("%y" + std::to_string(i), i == 0 ? "%x" : "%y" + std::to_string(i - 1), "%w");
  text +=
      "  %all : int = prim::Constant[value=-1]()\n  %rows : int = prim::Constant[value=6]()\n"
      "  %shape : int[] = prim::ListConstruct(%all, %rows, %rows)\n  %z : Tensor = aten::view(%y3, %shape)\n  return "
      "(%z, %y3)\n";
  const auto graph = graph_of(text, {noise({4, 4, 3, 3}, 1)}, noise({1, 4, 6, 6}, 2));
  PreparedWeights weights;
  expect_unchanged(*graph, {1, 4, 6, 6}, [&](Graph& g) {
    EXPECT(free_of_strides(g));
    lay_channels_last(g, weights);
  });
  EXPECT_EQUAL(count_nodes(*graph, "view"), 0);
  EXPECT(run(*graph, noise({2, 4, 6, 6}, 4))[1].is_contiguous(at::MemoryFormat::ChannelsLast));
  // One convolution alone is left as it is.
  const auto few = graph_of(
      "graph(%x : Tensor, %w : Tensor):" + kConvolutionSettings + convolution("%y", "%x", "%w") + "  return (%y)\n",
      {noise({4, 4, 3, 3}, 1)}, noise({1, 4, 6, 6}, 2));
  PreparedWeights none;
  lay_channels_last(*few, none);
  EXPECT_EQUAL(none.bytes(), 0);
  // And what looks at how a tensor lies is found out.
  const auto looks = graph_of(
      "graph(%x : Tensor):\n  %two : int = prim::Constant[value=2]()\n  %l : int[] = prim::ListConstruct(%two, %two)\n "
      " %n : NoneType = prim::Constant()\n"
      "  %y : Tensor = aten::as_strided(%x, %l, %l, %n)\n  return (%y)\n",
      {}, noise({1, 4, 6, 6}, 2));
  EXPECT(!free_of_strides(*looks));
}

// -- Packed operators -------------------------------------------------------------------------------------------------

TEST("tuning: a convolution takes in the sum and the ReLU behind it") {
  if (!has_packed_operators(at::kFloat)) return;
  PreparedWeights weights;
  const auto graph =
      graph_of("graph(%x : Tensor, %w : Tensor, %b : Tensor):" + kConvolutionSettings +
                   convolution("%y", "%x", "%w", "%b") + plus("%s", "%y", "%x") + relu("%r", "%s") + "  return (%r)\n",
               {noise({4, 4, 3, 3}, 1), noise({4}, 2)}, noise({1, 4, 6, 6}, 3));
  expect_unchanged(*graph, {1, 4, 6, 6}, [&](Graph& g) { pack(g, weights); });
  const auto x = noise({5, 4, 6, 6}, 4);
  const auto calls = calls_of([&] { run(*graph, x); });
  EXPECT_EQUAL(calls.size(), size_t(1));
  EXPECT_EQUAL(calls[0].name, std::string("sightline::packed_convolution"));
  // The other summand was not written over: it may be read again.
  EXPECT(x.equal(noise({5, 4, 6, 6}, 4)));
}

TEST("tuning: the other summand stays what it is for those who read it later") {
  if (!has_packed_operators(at::kFloat)) return;
  PreparedWeights weights;
  const auto graph = graph_of("graph(%x : Tensor, %w : Tensor):" + kConvolutionSettings + relu("%a", "%x") +
                                  convolution("%y", "%a", "%w") + plus("%s", "%a", "%y") + plus("%t", "%s", "%a") +
                                  "  return (%t, %a)\n",
                              {noise({4, 4, 3, 3}, 1)}, noise({1, 4, 6, 6}, 3));
  expect_unchanged(*graph, {1, 4, 6, 6}, [&](Graph& g) { pack(g, weights); });
  EXPECT_EQUAL(count_nodes(*graph, "add"), 1);
}

TEST("tuning: both convolutions of a downsampling block are computed once") {
  if (!has_packed_operators(at::kFloat)) return;
  const Tensors constants{noise({6, 4, 3, 3}, 1), noise({6, 4, 1, 1}, 2)};
  const std::string main = convolution("%y", "%x", "%w", "%none", "%twos", "%ones"),
                    side = convolution("%d", "%x", "%u", "%none", "%twos", "%zeros");
  // In either order, and with either as the first summand.
  for (const auto& both : {main + side, side + main}) {
    for (const auto& sum : {plus("%s", "%y", "%d"), plus("%s", "%d", "%y")}) {
      PreparedWeights weights;
      const auto graph = graph_of("graph(%x : Tensor, %w : Tensor, %u : Tensor):" + kConvolutionSettings + both + sum +
                                      relu("%r", "%s") + "  return (%r)\n",
                                  constants, noise({1, 4, 8, 8}, 3));
      expect_unchanged(*graph, {1, 4, 8, 8}, [&](Graph& g) { pack(g, weights); });
      const auto x = noise({2, 4, 8, 8}, 4);
      const auto calls = calls_of([&] { run(*graph, x); });
      EXPECT_EQUAL(count_of(calls, "sightline::packed_convolution"), 2);
      EXPECT_EQUAL(calls.size(), size_t(2), both, sum, text_of(calls));
    }
  }
}

TEST(
    "tuning: sums of other sizes, with a factor or of a value with itself are left alone, and constants are added to "
    "each image") {
  if (!has_packed_operators(at::kFloat)) return;
  const std::string head = "graph(%x : Tensor, %w : Tensor, %scale : Tensor, %place : Tensor):" + kConvolutionSettings +
                           convolution("%y", "%x", "%w");
  const Tensors constants{noise({4, 4, 3, 3}, 1), noise({1, 4, 1, 1}, 2), noise({1, 4, 6, 6}, 3)};
  for (const auto& sum : {plus("%s", "%y", "%scale"), plus("%s", "%y", "%x", "%two"), plus("%s", "%y", "%y")}) {
    PreparedWeights weights;
    const auto graph = graph_of(head + sum + relu("%r", "%s") + "  return (%r)\n", constants, noise({1, 4, 6, 6}, 4));
    expect_unchanged(*graph, {1, 4, 6, 6}, [&](Graph& g) { pack(g, weights); });
    EXPECT_EQUAL(count_nodes(*graph, "add"), 1, sum);
    EXPECT_EQUAL(count_packed(*graph), 1, sum);
  }
  // A parameter of the very size of one image's convolution is added to every image's.
  for (const auto& sum : {plus("%s", "%y", "%place"), plus("%s", "%place", "%y")}) {
    PreparedWeights weights;
    const auto graph = graph_of(head + sum + relu("%r", "%s") + "  return (%r)\n", constants, noise({1, 4, 6, 6}, 4));
    expect_unchanged(*graph, {1, 4, 6, 6}, [&](Graph& g) { pack(g, weights); });
  }
}

TEST("tuning: what is tapped between convolution, sum and ReLU keeps its own value") {
  if (!has_packed_operators(at::kFloat)) return;
  const std::string body = "graph(%x : Tensor, %w : Tensor):" + kConvolutionSettings + convolution("%y", "%x", "%w") +
                           plus("%s", "%y", "%x") + relu("%r", "%s");
  for (const auto& taps : {"%y, %r", "%s, %r", "%y, %s, %r"}) {
    PreparedWeights weights;
    const auto graph = graph_of(body + "  return (" + taps + ")\n", {noise({4, 4, 3, 3}, 1)}, noise({1, 4, 6, 6}, 3));
    expect_unchanged(*graph, {1, 4, 6, 6}, [&](Graph& g) { pack(g, weights); });
  }
}

namespace {

bool multiplies_by_onednn() { return has_packed_operators(at::kFloat) && outruns_linear(at::kFloat); }

int count_kind(const Graph& graph, const char* kind) {
  int count = 0;
  for (const Node* node : graph.nodes()) count += node->kind() == c10::Symbol::fromQualString(kind) ? 1 : 0;
  return count;
}

}  // namespace

TEST("tuning: a linear layer without gradient takes in what follows it, in float32 where oneDNN is faster") {
  for (const std::string activation : {"gelu(%y, %none_text)", "gelu(%y, %tanh_text)", "relu(%y)"}) {
    PreparedWeights weights;
    const auto graph = graph_of(
        "graph(%x : Tensor, %w : Tensor, %b : Tensor):\n"
        "  %none_text : str = prim::Constant[value=\"none\"]()\n"
        "  %tanh_text : str = prim::Constant[value=\"tanh\"]()\n"
        "  %y : Tensor = aten::linear(%x, %w, %b)\n"
        "  %a : Tensor = aten::" +
            activation + "\n  return (%a)\n",
        {noise({6, 8}, 1), noise({6}, 2)}, noise({1, 20, 8}, 3));
    expect_unchanged(*graph, {1, 20, 8}, [&](Graph& g) { pack(g, weights); });
    EXPECT_EQUAL(count_kind(*graph, "sightline::packed_linear"), multiplies_by_onednn() ? 1 : 0);
    EXPECT_EQUAL(count_nodes(*graph, "gelu") + count_nodes(*graph, "relu"), multiplies_by_onednn() ? 0 : 1);
  }
}

TEST("tuning: a linear layer that a gradient is taken through has it, and its second one, from oneDNN too") {
  PreparedWeights weights;
  const auto graph = graph_of(
      "graph(%x : Tensor, %w : Tensor, %b : Tensor):\n"
      "  %l : Tensor = sightline::leaf(%x)\n"
      "  %y : Tensor = aten::linear(%l, %w, %b)\n"
      "  %s : Tensor = aten::mul(%y, %y)\n"
      "  %t : Tensor = aten::mul(%s, %y)\n"
      "  return (%l, %t)\n",
      {noise({6, 8}, 1), noise({6}, 2)}, noise({1, 20, 8}, 3));
  const auto original = graph->copy();
  std::unordered_set<const Value*> recorded;
  for (const Node* node : graph->nodes()) {
    if (node->kind() == leaf_symbol() || !recorded.empty()) recorded.insert(node->output());
  }
  multiply_by_onednn(*graph, recorded, at::kFloat, weights);
  EXPECT_EQUAL(count_kind(*graph, "sightline::onednn_linear"), multiplies_by_onednn() ? 1 : 0);
  EXPECT_EQUAL(count_nodes(*graph, "linear"), multiplies_by_onednn() ? 0 : 1);
  // The value, the gradient of its sum, and the gradient of that one's squares.
  const auto derivatives = [](Graph& of, const at::Tensor& x) {
    const auto outputs = GraphCode(of.copy()).run({x}, true);
    const auto first = torch::autograd::grad({outputs[1].sum()}, {outputs[0]}, {}, true, true)[0];
    const auto second = torch::autograd::grad({first.square().sum()}, {outputs[0]})[0];
    return Tensors{outputs[1].detach(), first.detach(), second};
  };
  const auto x = noise({3, 20, 8}, 4);
  const auto found = derivatives(*graph, x), expected = derivatives(*original, x);
  for (size_t i = 0; i < found.size(); ++i) {
    expect_rounded(
        found[i], expected[i], 8, x, [&](const at::Tensor& input) { return derivatives(*original, input)[i]; },
        "derivative " + std::to_string(i));
  }
}

TEST("tuning: nothing is packed that a gradient is taken through") {
  PreparedWeights weights;
  const auto graph =
      graph_of("graph(%x : Tensor, %w : Tensor):" + kConvolutionSettings + convolution("%y", "%x", "%w") +
                   relu("%a", "%y") + "  %l : Tensor = sightline::leaf(%a)\n" + convolution("%z", "%l", "%w") +
                   plus("%s", "%z", "%a") + relu("%r", "%s") + "  return (%l, %r)\n",
               {noise({4, 4, 3, 3}, 1)}, noise({1, 4, 6, 6}, 3));
  std::unordered_set<const Value*> recorded;
  bool is_behind = false;
  for (const Node* node : graph->nodes()) {
    is_behind = is_behind || node->kind() == leaf_symbol();
    if (is_behind) recorded.insert(node->output());
  }
  expect_unchanged(*graph, {1, 4, 6, 6}, [&](Graph& g) { pack(g, weights, recorded); });
  EXPECT_EQUAL(count_nodes(*graph, "conv2d"), 1);
  EXPECT_EQUAL(count_packed(*graph), has_packed_operators(at::kFloat) ? 1 : 0);
  // The derivative is there, and is the convolution's.
  const auto x = noise({2, 4, 6, 6}, 4);
  const auto outputs = GraphCode(graph->copy()).run({x}, true);
  const auto slope = torch::autograd::grad({outputs[1].sum()}, {outputs[0]})[0];
  EXPECT(slope.abs().max().item<float>() > 0);
}

// -- Tokens -----------------------------------------------------------------------------------------------------------

namespace {

// A perceptron with a residual path around it, as at the end of a transformer: eight tokens of four channels.
const std::string kTokens = R"(
  %zero : int = prim::Constant[value=0]()
  %last : int = prim::Constant[value=-1]()
  %one : int = prim::Constant[value=1]()
  %two : int = prim::Constant[value=2]()
  %four : int = prim::Constant[value=4]()
  %most : int = prim::Constant[value=9223372036854775807]()
  %yes : bool = prim::Constant[value=1]()
  %no : bool = prim::Constant[value=0]()
  %none : NoneType = prim::Constant()
  %exact : str = prim::Constant[value="none"]()
  %epsilon : float = prim::Constant[value=1.0000000000000001e-05]()
  %nothing : float = prim::Constant[value=0.]()
  %width : int[] = prim::Constant[value=[4]]()
)";
const std::string kPerceptron = R"(
  %n : Tensor = aten::layer_norm(%t, %width, %g, %b, %epsilon, %yes)
  %h : Tensor = aten::linear(%n, %w1, %none)
  %a : Tensor = aten::gelu(%h, %exact)
  %m : Tensor = aten::linear(%a, %w2, %none)
  %y : Tensor = aten::add(%t, %m, %one)
)";
const std::string kInputs = "graph(%x : Tensor, %w1 : Tensor, %w2 : Tensor, %g : Tensor, %b : Tensor, %c : Tensor):";

Tensors token_weights() {
  return {noise({16, 4}, 1), noise({4, 16}, 2), noise({4}, 3), noise({4}, 4), noise({7, 4}, 5)};
}

// The numbers of tokens that each linear layer of the perceptron computes, per image.
std::vector<int64_t> tokens_computed(Graph& graph, const std::vector<int64_t>& sizes) {
  std::vector<int64_t> found;
  for (const auto& call : calls_of([&] { run(graph, noise(sizes, 8)); })) {
    if (call.name == "aten::linear" && call.sizes.size() == 3) found.push_back(call.sizes[1]);
  }
  return found;
}

std::vector<int64_t> narrowed(const std::string& text, const std::vector<int64_t>& sizes = {1, 8, 4}) {
  const auto graph = graph_of(text, token_weights(), noise(sizes, 6));
  expect_unchanged(*graph, sizes, narrow_tokens);
  return tokens_computed(*graph, sizes);
}

using Counts = std::vector<int64_t>;
const Counts kAll{8, 8}, kOne{1, 1};

const std::string kSelectFirst =
    "  %f : Tensor = aten::select(%y, %one, %zero)\n  %logits : Tensor = aten::linear(%f, %c, %none)\n  return "
    "(%logits)\n";
const std::string kStart = kInputs + kTokens + "  %t : Tensor = aten::relu(%x)\n";

// Attention as nn.MultiheadAttention traces it, two heads of three channels: tokens first. `merged` is what its output
// becomes before the projection, `back` what becomes of that.
std::string turned_attention(const std::string& split, const std::string& merged, const std::string& back) {
  return "graph(%x : Tensor, %w : Tensor, %p : Tensor):" + kTokens + R"(
  %head : int = prim::Constant[value=3]()
  %channels : int = prim::Constant[value=6]()
  %minus2 : int = prim::Constant[value=-2]()
  %order : int[] = prim::Constant[value=[2, 0, 1, 3]]()
  %thirds : int[] = prim::Constant[value=[3, 6]]()
  %sixths : int[] = prim::Constant[value=[6, 3]]()
  %batch : int = aten::size(%x, %zero)
  %tokens : int = aten::size(%x, %one)
  %many : int = aten::mul(%batch, %two)
  %rows : int = aten::mul(%batch, %tokens)
  %turned : Tensor = aten::transpose(%x, %zero, %one)
  %all : Tensor = aten::linear(%turned, %w, %none)
)" + split +
         R"(
  %flat : int[] = prim::ListConstruct(%tokens, %many, %head)
  %qv : Tensor = aten::reshape(%q0, %flat)
  %kv : Tensor = aten::reshape(%k0, %flat)
  %vv : Tensor = aten::reshape(%v0, %flat)
  %qt : Tensor = aten::transpose(%qv, %zero, %one)
  %kt : Tensor = aten::transpose(%kv, %zero, %one)
  %vt : Tensor = aten::transpose(%vv, %zero, %one)
  %four_axes : int[] = prim::ListConstruct(%batch, %two, %tokens, %head)
  %q : Tensor = aten::view(%qt, %four_axes)
  %k : Tensor = aten::view(%kt, %four_axes)
  %v : Tensor = aten::view(%vt, %four_axes)
  %mixed : Tensor = aten::scaled_dot_product_attention(%q, %k, %v, %none, %nothing, %no, %none, %no)
)" + merged +
         R"(
  %wide : int[] = prim::ListConstruct(%rows, %channels)
  %m : Tensor = aten::reshape(%permuted, %wide)
  %projected : Tensor = aten::linear(%m, %p, %none)
)" + back +
         "  %r : Tensor = aten::relu(%y)\n  return (%r)\n";
}

const std::string kByThirds = R"(
  %split : Tensor = aten::unflatten(%all, %last, %thirds)
  %front : Tensor = aten::unsqueeze(%split, %zero)
  %swapped : Tensor = aten::transpose(%front, %zero, %minus2)
  %squeezed : Tensor = aten::squeeze(%swapped, %minus2)
  %copied : Tensor = aten::contiguous(%squeezed, %zero)
  %q0 : Tensor = aten::select(%copied, %zero, %zero)
  %k0 : Tensor = aten::select(%copied, %zero, %one)
  %v0 : Tensor = aten::select(%copied, %zero, %two)
)";
// Every third channel is a query's.
const std::string kInTurns = R"(
  %split : Tensor = aten::unflatten(%all, %last, %sixths)
  %q0 : Tensor = aten::select(%split, %last, %zero)
  %k0 : Tensor = aten::select(%split, %last, %one)
  %v0 : Tensor = aten::select(%split, %last, %two)
)";
const std::string kTokensFirst = "  %permuted : Tensor = aten::permute(%mixed, %order)\n";
const std::string kAsItIs = "  %permuted : Tensor = aten::contiguous(%mixed, %zero)\n";
const std::string kTurnedBack = R"(
  %three_axes : int[] = prim::ListConstruct(%tokens, %batch, %channels)
  %z : Tensor = aten::view(%projected, %three_axes)
  %y : Tensor = aten::transpose(%z, %zero, %one)
)";
const std::string kBatchFirst = R"(
  %three_axes : int[] = prim::ListConstruct(%batch, %tokens, %channels)
  %y : Tensor = aten::reshape(%projected, %three_axes)
)";

// Copies that are left, after a rewrite that changes no value.
int copies_after_straightening(const std::string& text) {
  const auto graph = graph_of(text, {noise({18, 6}, 1), noise({6, 6}, 2)}, noise({1, 5, 6}, 6));
  expect_unchanged(*graph, {1, 5, 6}, straighten_layouts);
  return count_nodes(*graph, "reshape") + count_nodes(*graph, "contiguous");
}

}  // namespace

TEST("tuning: queries, keys and values become views, and merged heads stay in the batch's order") {
  EXPECT_EQUAL(copies_after_straightening(turned_attention(kByThirds, kTokensFirst, kTurnedBack)), 0);
}

TEST("tuning: layouts that mean something else are left alone") {
  // Three for queries, keys and values; one before the projection.
  EXPECT_EQUAL(copies_after_straightening(turned_attention(kInTurns, kTokensFirst, kTurnedBack)), 3);
  // Heads and tokens mixed before the projection, as some models do by mistake: what is left is that copy and its reshape.
  EXPECT_EQUAL(copies_after_straightening(turned_attention(kByThirds, kAsItIs, kBatchFirst)), 3);
}

TEST("tuning: where the head reads one token, the last perceptron computes one") {
  EXPECT(narrowed(kStart + kPerceptron + kSelectFirst) == kOne);
  // The last token, through a norm of all, and by way of the slice x[:] that `x[:, -1]` is traced to.
  EXPECT(narrowed(kStart + kPerceptron +
                  "  %z : Tensor = aten::layer_norm(%y, %width, %g, %b, %epsilon, %yes)\n  %s : Tensor = "
                  "aten::slice(%z, %zero, %zero, %most, %one)\n"
                  "  %f : Tensor = aten::select(%s, %one, %last)\n  return (%f)\n") == kOne);
}

TEST("tuning: two heads that read tokens 0 and 1 get both, and an odd pair all between") {
  const auto heads = [](const std::string& first, const std::string& second) {
    return "  %f : Tensor = aten::select(%y, %one, " + first + ")\n  %s : Tensor = aten::select(%y, %one, " + second +
           ")\n" +
           "  %p : Tensor = aten::linear(%f, %c, %none)\n  %q : Tensor = aten::linear(%s, %c, %none)\n  %logits : "
           "Tensor = aten::add(%p, %q, %one)\n  return (%logits)\n";
  };
  EXPECT(narrowed(kStart + kPerceptron + heads("%zero", "%one")) == Counts({2, 2}));
  EXPECT(narrowed(kStart + kPerceptron + heads("%one", "%four")) == Counts({4, 4}));
  // First and last: all.
  EXPECT(narrowed(kStart + kPerceptron + heads("%zero", "%last")) == kAll);
  // The same token twice.
  EXPECT(narrowed(kStart + kPerceptron + heads("%two", "%two")) == kOne);
}

TEST("tuning: tokens are kept where they are tapped, counted or mixed") {
  const std::string select = "  %f : Tensor = aten::select(%y, %one, %zero)\n";
  // Tapped at the end, amid the perceptron (what lies behind is narrowed all the same), and by a leaf of gradients.
  EXPECT(narrowed(kStart + kPerceptron + select + "  return (%f, %y)\n") == kAll);
  EXPECT(narrowed(kStart + kPerceptron + select + "  return (%f, %h)\n") == Counts({8, 1}));
  EXPECT(
      narrowed(
          kStart + kPerceptron +
          "  %l : Tensor = sightline::leaf(%y)\n  %f : Tensor = aten::select(%l, %one, %zero)\n  return (%f, %l)\n") ==
      kAll);
  // A size that somebody reads is that of all tokens.
  EXPECT(narrowed(kStart + kPerceptron + select +
                  "  %count : int = aten::size(%y, %one)\n  %r : Tensor = aten::mul(%f, %count)\n  return (%r)\n") ==
         kAll);
  // The mean of all.
  EXPECT(narrowed(kStart + kPerceptron +
                  "  %tokens : int[] = prim::Constant[value=[1]]()\n  %f : Tensor = aten::mean(%y, %tokens, %no, "
                  "%none)\n  return (%f)\n") == kAll);
  // A softmax over tokens, a norm over tokens and channels, and a product that sums over tokens, in between.
  for (const std::string& mixing :
       {std::string("  %k : Tensor = aten::softmax(%m, %one, %none)\n"),
        std::string("  %both : int[] = prim::Constant[value=[8, 4]]()\n  %k : Tensor = aten::layer_norm(%m, %both, "
                    "%none, %none, %epsilon, %yes)\n"),
        std::string("  %turned : Tensor = aten::transpose(%m, %one, %two)\n  %square : Tensor = aten::matmul(%m, "
                    "%turned)\n  %k : Tensor = aten::matmul(%square, %m)\n"),
        std::string("  %k : Tensor = aten::cumsum(%m, %one, %none)\n"),
        std::string("  %where : int[] = prim::Constant[value=[1]]()\n  %k : Tensor = aten::flip(%m, %where)\n")}) {
    EXPECT(narrowed(kStart + kPerceptron + mixing + "  %f : Tensor = aten::select(%k, %one, %zero)\n  return (%f)\n") ==
               kAll,
           mixing);
  }
  // Columns are no tokens: a softmax over channels, and a select along them.
  EXPECT(narrowed(kStart + kPerceptron +
                  "  %k : Tensor = aten::softmax(%y, %last, %none)\n  %f : Tensor = aten::select(%k, %one, %zero)\n  "
                  "return (%f)\n") == kOne);
  EXPECT(narrowed(kStart + kPerceptron + "  %f : Tensor = aten::select(%y, %two, %zero)\n  return (%f)\n") == kAll);
}

TEST("tuning: what all tokens share is added whole, what each has of its own is cut") {
  const std::string text =
      "graph(%x : Tensor, %w1 : Tensor, %w2 : Tensor, %g : Tensor, %b : Tensor, %c : Tensor, %places : Tensor, %scale "
      ": Tensor):" +
      kTokens + "  %t : Tensor = aten::relu(%x)\n" + kPerceptron +
      "  %u : Tensor = aten::add(%y, %places, %one)\n  %v : Tensor = aten::mul(%u, %scale)\n  %d : Tensor = "
      "aten::div(%v, %b)\n"
      "  %f : Tensor = aten::select(%d, %one, %two)\n  return (%f)\n";
  auto constants = token_weights();
  constants.push_back(noise({1, 8, 4}, 11));
  constants.push_back(noise({1, 1, 4}, 12));
  const auto graph = graph_of(text, constants, noise({1, 8, 4}, 6));
  expect_unchanged(*graph, {1, 8, 4}, narrow_tokens);
  EXPECT(tokens_computed(*graph, {3, 8, 4}) == kOne);
}

TEST("tuning: of the last attention one query is left, and all keys and values") {
  // One head by hand: [1, 8, 4] to [1, 1, 8, 4], attention, and back.
  const std::string heads = R"(
  %all : int = prim::Constant[value=-1]()
  %eight : int = prim::Constant[value=8]()
  %shape : int[] = prim::ListConstruct(%all, %eight, %one, %four)
  %merged : int[] = prim::ListConstruct(%all, %eight, %four)
  %q0 : Tensor = aten::linear(%x, %square, %none)
  %q1 : Tensor = aten::reshape(%q0, %shape)
  %q : Tensor = aten::transpose(%q1, %one, %two)
  %k0 : Tensor = aten::reshape(%x, %shape)
  %k : Tensor = aten::transpose(%k0, %one, %two)
)";
  const std::string fused =
      "  %o : Tensor = aten::scaled_dot_product_attention(%q, %k, %k, %none, %nothing, %no, %none, %no)\n";
  const std::string causal =
      "  %o : Tensor = aten::scaled_dot_product_attention(%q, %k, %k, %none, %nothing, %yes, %none, %no)\n";
  const std::string opened =
      "  %turned : Tensor = aten::transpose(%k, %two, %last)\n  %scores : Tensor = aten::matmul(%q, %turned)\n"
      "  %p : Tensor = aten::softmax(%scores, %last, %none)\n  %o : Tensor = aten::matmul(%p, %k)\n";
  const std::string behind =
      "  %o1 : Tensor = aten::transpose(%o, %one, %two)\n  %o2 : Tensor = aten::reshape(%o1, %merged)\n"
      "  %o3 : Tensor = aten::linear(%o2, %square, %none)\n  %t : Tensor = aten::add(%x, %o3, %one)\n" +
      kPerceptron + "  %f : Tensor = aten::select(%y, %one, %zero)\n  return (%f)\n";
  auto constants = token_weights();
  constants.push_back(noise({4, 4}, 11));
  const auto queries_of = [&](const std::string& attention, const char* name) {
    const auto graph = graph_of(
        "graph(%x : Tensor, %w1 : Tensor, %w2 : Tensor, %g : Tensor, %b : Tensor, %c : Tensor, %square : Tensor):" +
            kTokens + heads + attention + behind,
        constants, noise({1, 8, 4}, 6));
    expect_unchanged(*graph, {1, 8, 4}, narrow_tokens);
    Counts found;
    for (const auto& call : calls_of([&] { run(*graph, noise({3, 8, 4}, 8)); })) {
      if (call.name == name) found.push_back(call.sizes.at(2));
      // The projection of the queries is cut behind a reshape, and stays whole; that behind the attention is narrowed.
      if (call.name == "aten::linear" && call.sizes.size() == 3) found.push_back(call.sizes[1]);
    }
    return found;
  };
  EXPECT(queries_of(fused, "aten::scaled_dot_product_attention") == Counts({8, 1, 1, 1, 1}));
  EXPECT(queries_of(opened, "aten::softmax") == Counts({8, 1, 1, 1, 1}));
  // A causal mask goes by the number of the query.
  EXPECT(queries_of(causal, "aten::scaled_dot_product_attention") == Counts({8, 8, 1, 1, 1}));
}

// -- Whole models -----------------------------------------------------------------------------------------------------

namespace {

std::unique_ptr<Model> load_untuned(const Archive& each) {
  LoadOptions options;
  options.path = each.path();
  options.device = "cpu";
  options.optimize = false;
  return std::make_unique<Model>(options, at::kCPU);
}

std::vector<Call> calls_for(Model& model, const Archive& each, const std::vector<TapRequest>& taps) {
  const at::NoGradGuard no_gradients;
  const auto& program = model.network(each.height, each.width).program(taps);
  const auto images = each.images(2);
  return calls_of([&] { program.run(model.self(), images); });
}

const TapRequest kLogits{{Tap::Kind::Logits, {}, -1}, false};

}  // namespace

TEST("tuning: the last block of a ViT runs its perceptron on the class token alone, of a distilled one on two") {
  for (const auto& [name, rows] : std::vector<std::pair<std::string, int64_t>>{{"timm-vit-fused-traced", 1},
                                                                               {"timm-vit-unfused-traced", 1},
                                                                               {"torchvision-vit-traced", 1},
                                                                               {"transformers-vit-sdpa-traced", 1},
                                                                               {"timm-deit-distilled-traced", 2}}) {
    const auto& each = archive(name);
    const auto layers = [&](Model& model, const std::vector<TapRequest>& taps) {
      Counts found;
      for (const auto& call : calls_for(model, each, taps)) {
        const bool is_linear = call.name == "aten::linear" || call.name == "sightline::packed_linear";
        if (is_linear && call.sizes.size() == 3) found.push_back(call.sizes[1]);
      }
      return found;
    };
    const auto tuned = each.load(), untuned = load_untuned(each);
    const auto found = layers(*tuned, {kLogits});
    EXPECT(found.size() >= 5, name);
    const int64_t all = found.front();
    EXPECT(all > 2, name);
    // Both layers of the last perceptron, and at most the two of its attention; whatever comes before is as it was.
    EXPECT_EQUAL(found[found.size() - 1], rows, name);
    EXPECT_EQUAL(found[found.size() - 2], rows, name);
    EXPECT_EQUAL(std::count(found.begin(), found.end() - 4, all), static_cast<std::ptrdiff_t>(found.size()) - 4, name,
                 ": only the last block is narrowed");
    // Tapped, all tokens are there.
    const auto& info = tuned->network(each.height, each.width).info();
    std::string last_tokens;
    for (const auto& node : info.nodes) {
      if (node.layout == Layout::Tokens && node.sizes.at(1) == all) last_tokens = node.name;
    }
    const auto tapped = layers(*tuned, {kLogits, {{Tap::Kind::Node, last_tokens, -1}, false}});
    EXPECT_EQUAL(std::count(tapped.begin(), tapped.end(), all), static_cast<std::ptrdiff_t>(tapped.size()), name, ": ",
                 last_tokens);
  }
}

TEST("tuning: attention that lays tokens before the batch copies none of them") {
  const auto& each = archive("torchvision-vit-traced");
  const auto tuned = each.load(), untuned = load_untuned(each);
  const auto calls = calls_for(*tuned, each, {kLogits}), before = calls_for(*untuned, each, {kLogits});
  const int blocks = count_of(before, "aten::scaled_dot_product_attention");
  EXPECT(blocks >= 2);
  EXPECT_EQUAL(count_of(calls, "aten::scaled_dot_product_attention"), blocks);
  EXPECT(count_of(before, "aten::contiguous") >= blocks);
  EXPECT_EQUAL(count_of(calls, "aten::contiguous"), 0, text_of(calls));
  EXPECT_EQUAL(count_of(calls, "aten::linear") + count_of(calls, "sightline::packed_linear"),
               count_of(before, "aten::linear"));
}

TEST("tuning: a ResNet runs no batch norm, and one operator for a convolution and what follows it") {
  for (const char* name : {"torchvision-resnet-traced", "torchvision-resnet-basic-scripted", "timm-resnet-traced",
                           "transformers-resnet-traced"}) {
    const auto& each = archive(name);
    const auto tuned = each.load(), untuned = load_untuned(each);
    const auto calls = calls_for(*tuned, each, {kLogits}), before = calls_for(*untuned, each, {kLogits});
    const int convolutions = count_of(before, "aten::conv2d") + count_of(before, "aten::_convolution");
    EXPECT(convolutions >= 5, name);
    EXPECT_EQUAL(count_of(before, "aten::batch_norm"), convolutions, name);
    EXPECT_EQUAL(count_of(calls, "aten::batch_norm"), 0, name);
    if (!has_packed_operators(at::kFloat)) continue;
    EXPECT_EQUAL(count_of(calls, "sightline::packed_convolution"), convolutions, name, text_of(calls));
    EXPECT_EQUAL(count_of(calls, "aten::relu"), 0, name);
    EXPECT_EQUAL(count_of(calls, "aten::add"), 0, name);
    // A gradient from the first layer on leaves the stem alone to be packed.
    const auto& nodes = tuned->network(each.height, each.width).info().nodes;
    const auto first = std::find_if(nodes.begin(), nodes.end(),
                                    [](const NodeInfo& node) { return node.op == "relu" || node.op == "relu_"; });
    EXPECT(first != nodes.end(), name);
    const auto recorded = calls_for(*tuned, each, {kLogits, {{Tap::Kind::Node, first->name, -1}, true}});
    EXPECT(count_of(recorded, "sightline::packed_convolution") >= 1, name);
    EXPECT(count_of(recorded, "sightline::packed_convolution") < convolutions, name);
    EXPECT_EQUAL(count_of(recorded, "aten::batch_norm"), 0, name);
  }
}

TEST("tuning: an untuned model runs the very operators of its archive") {
  for (const char* name : {"torchvision-resnet-traced", "timm-vit-fused-traced"}) {
    const auto& each = archive(name);
    const auto untuned = load_untuned(each);
    for (const auto& call : calls_for(*untuned, each, {kLogits})) EXPECT(call.name.rfind("aten::", 0) == 0, call.name);
    EXPECT_EQUAL(untuned->prepared_bytes(), 0);
  }
}

}  // namespace sightline::test
