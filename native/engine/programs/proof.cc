#include "engine/programs/proof.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/_shape_as_tensor.h>
#include <ATen/ops/randn.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <torch/csrc/jit/passes/shape_analysis.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "engine/errors.h"
#include "engine/graph/graph_ops.h"
#include "engine/programs/program.h"

namespace sightline {

using torch::jit::Graph;
using torch::jit::Value;
using torch::jit::WithInsertPoint;

namespace {

// How much brighter the second image of the proof is than the first.
constexpr double kBrighter = 4;

// Of all but the scores, what the proof compares will do: kept, the values of every layer would take more memory than the
// weights. Puts two outputs in the place of one: the value's sizes, and the norm and the sum of its first `rows`, as many as
// one image alone has: several where its windows stand there, or the image and its mirror image.
class Summaries {
 public:
  explicit Summaries(Graph& graph) : graph_(graph) {}

  void put(size_t output, int64_t rows) {
    Value* const value = graph_.outputs()[output];
    if (output == kLogitsOutput) {
      graph_.registerOutput(value);
      return;
    }
    // A block's output is that of its last layer too: it is looked at once.
    auto& [sizes, sketch] = known_[value];
    if (sizes == nullptr) {
      WithInsertPoint point(value->node()->kind() == c10::prim::Param ? *graph_.nodes().begin()
                                                                      : value->node()->next());
      sizes = graph_.insert(c10::Symbol::fromQualString("aten::_shape_as_tensor"), {value});
      Value* const first = rows > 0 ? graph_.insert(c10::aten::slice, {value, 0, 0, rows, 1}) : value;
      sketch = graph_.insert(sketch_symbol(), {first});
    }
    graph_.return_node()->replaceInput(output, sizes);
    graph_.registerOutput(sketch);
  }

 private:
  Graph& graph_;
  std::map<const Value*, std::pair<Value*, Value*>> known_;
};

// Whether the first image's part of a value is the same with another image beside it, to rounding. `one`, `two`: its norm
// and its sum, alone and in company.
bool is_same_sketch(const at::Tensor& one, const at::Tensor& two, double numbers, double tolerance) {
  const auto* a = one.const_data_ptr<double>();
  const auto* b = two.const_data_ptr<double>();
  if (!std::isfinite(a[0]) || !std::isfinite(b[0])) return std::isfinite(a[0]) == std::isfinite(b[0]);
  const double size = std::max(a[0], 1e-12);
  // As many numbers, each wrong by the tolerance's part of their mean size, move the sum by so much at most.
  return std::abs(a[0] - b[0]) <= tolerance * size &&
         std::abs(a[1] - b[1]) <= tolerance * size * std::sqrt(std::max(numbers, 1.0));
}

}  // namespace

LoneRun prove(const StraightGraph& straight, const torch::jit::Module& module, const at::Tensor& example,
              Tappable& tappable, NetworkInfo& info, const std::vector<size_t>& kept, bool for_one_image) {
  at::NoGradGuard no_gradients;
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(1);
  // The second is much brighter: what the images have in common (a mean, a batch norm's statistics, the scale of a dynamic
  // quantisation) is then another for the first than it is alone.
  auto pair = at::randn({2, example.size(1), example.size(2), example.size(3)}, generator, at::kFloat);
  pair[1].mul_(kBrighter).add_(1);
  pair = pair.to(example.options());
  const auto first = pair.narrow(0, 0, 1), second = pair.narrow(0, 1, 1);
  auto copy = tappable.master->copy();
  torch::jit::EraseShapeInformation(copy);
  const size_t values = copy->outputs().size();
  // Compared as it is returned: the archive's own forward gives no logits from before its softmax.
  std::vector<Value*> whole{copy->outputs()[values - 1]};
  for (const size_t output : kept) whole.push_back(copy->outputs()[output]);
  Summaries summaries(*copy);
  for (size_t i = 0; i < values; ++i) {
    const auto sizes = recorded_sizes(tappable.master->outputs()[i]);
    summaries.put(i, sizes && !sizes->empty() ? sizes->front() : 0);
  }
  const size_t returned = copy->outputs().size();
  for (Value* value : whole) copy->registerOutput(value);
  const Program straightened(std::move(copy), false, 0, false);
  const torch::jit::Code original(straight.original->copy(), "original");
  // Weights that are NaN or infinite are told, not refused: both ways then give NaN, which equals nothing.
  const auto comparable = [](const at::Tensor& scores) { return scores.to(at::kFloat).nan_to_num(0.0, 0.0, 0.0); };
  const auto run_original = [&](const at::Tensor& images) {
    torch::jit::Stack stack{module._ivalue(), images};
    torch::jit::InterpreterState(original).run(stack);
    for (const auto& [name, tensor] : returned_tensors(stack.back())) {
      if (name == straight.output) return comparable(tensor);
    }
    throw EngineError("INTERNAL", "the archive's own forward does not return '" + straight.output + "'");
  };
  const double tolerance = example.scalar_type() == at::kFloat ? 1e-3 : 0.1;
  const auto are_equal = [&](const at::Tensor& found, const at::Tensor& wanted) {
    return found.sizes() == wanted.sizes() &&
           (found - wanted).abs().max().item<double>() <= tolerance * std::max(1e-6, wanted.abs().max().item<double>());
  };

  std::vector<at::Tensor> outputs;
  bool is_true = false;
  info.can_batch = !for_one_image;
  if (info.can_batch) {
    try {
      outputs = straightened.run(module._ivalue(), pair);
      const auto found = comparable(outputs[returned]);
      // The second alone costs half of both. Whether the way taken depends on pixels, it tells as well: its own differ most.
      const auto wanted = run_original(second);
      const bool is_per_image = wanted.dim() > 0 && found.dim() > 0 && found.size(0) == 2 * wanted.size(0);
      is_true = is_per_image && are_equal(found.narrow(0, wanted.size(0), wanted.size(0)), wanted);
      // Images may change one another.
      if (!is_true) is_true = are_equal(found, run_original(pair));
    } catch (const c10::OutOfMemoryError&) {
      throw;
    } catch (const std::exception&) {
      // Shapes of one image are written into the archive: it is run for one image at a time, and must work so.
      info.can_batch = false;
    }
  }
  const auto alone = straightened.run(module._ivalue(), first);
  if (!info.can_batch) is_true = are_equal(comparable(alone[returned]), run_original(first));
  if (!is_true) {
    throw EngineError(
        "UNSUPPORTED_MODEL",
        "The model's forward takes different ways for different pixels (an `if` or a loop on tensor values, or "
        "randomness), so its graph cannot be read once for all; export it with torch.jit.trace after .eval().");
  }
  LoneRun lone{first, {{kLogitsOutput, alone[kLogitsOutput]}}};
  for (size_t i = 0; i < kept.size(); ++i) lone.values[kept[i]] = alone[returned + 1 + i];
  if (!info.can_batch) return lone;
  const auto scores = comparable(alone[kLogitsOutput]), in_company = comparable(outputs[kLogitsOutput]).narrow(0, 0, 1);
  info.images_interact = !((scores - in_company).abs().max().item<double>() <=
                           tolerance * std::max(1e-6, scores.abs().max().item<double>()));
  for (size_t i = 0; i < values && !info.images_interact; ++i) {
    // A value whose first axis is not the batch has no part that is the first image's.
    if (i == kLogitsOutput || outputs[i].numel() == 0 || alone[i].numel() == 0 ||
        outputs[i][0].item<int64_t>() != 2 * alone[i][0].item<int64_t>())
      continue;
    const auto numbers = alone[i].prod().item<double>();
    info.images_interact = !is_same_sketch(alone[values + i], outputs[values + i], numbers, tolerance);
  }
  if (info.images_interact) info.can_batch = false;
  for (auto& node : info.nodes) {
    const auto shape = outputs[tappable.node_outputs.at(node.name)];
    const std::vector<int64_t> sizes(shape.const_data_ptr<int64_t>(), shape.const_data_ptr<int64_t>() + shape.numel());
    auto doubled = node.sizes;
    if (!doubled.empty()) doubled[0] *= 2;
    if (sizes == doubled) continue;
    tappable.without_batch.insert(node.name);
    node.layout = Layout::Other;
    node.grid.reset();
    if (info.target_layer == node.name) info.target_layer.clear();
  }
  return lone;
}

}  // namespace sightline
