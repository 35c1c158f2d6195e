#include "engine/operations.h"

#include <ATen/CPUGeneratorImpl.h>

#include "engine/errors.h"

namespace sightline {

namespace {

using Run = std::function<Tensors(const Tensors&, const Attributes&, const StepContext&)>;

Operation unary(at::Tensor (*function)(const at::Tensor&)) {
  return {[function](const Tensors& in, const Attributes&, const StepContext&) { return Tensors{function(in[0])}; }};
}

Operation binary(at::Tensor (*function)(const at::Tensor&, const at::Tensor&)) {
  return {[function](const Tensors& in, const Attributes&, const StepContext&) {
    return Tensors{function(in[0], in[1])};
  }};
}

Operation plain(std::function<at::Tensor(const Tensors&, const Attributes&)> function) {
  return {[function = std::move(function)](const Tensors& in, const Attributes& set, const StepContext&) {
    return Tensors{function(in, set)};
  }};
}

// Each image by itself: the smallest and the largest value over all axes but the batch.
at::Tensor lowest(const at::Tensor& x) { return x.flatten(1).amin(1); }
at::Tensor highest(const at::Tensor& x) { return x.flatten(1).amax(1); }

at::Tensor per_image(const at::Tensor& value, const at::Tensor& like) {
  std::vector<int64_t> sizes(like.dim(), 1);
  sizes[0] = value.size(0);
  return value.view(sizes);
}

// To [0, 1] by each image's own range. A flat map becomes zeros, not NaN.
at::Tensor scale_to_unit(const at::Tensor& x) {
  const auto low = lowest(x);
  const auto range = highest(x) - low;
  const auto divisor = at::where(range > 0, range, at::ones_like(range));
  return (x - per_image(low, x)) / per_image(divisor, x);
}

// Zeroes the `floor(N * N * ratio)` smallest entries of each image's matrix. vit-explain keeps the first entry,
// [class, class], whatever its size.
at::Tensor zero_smallest(const at::Tensor& x, double ratio, bool keep_first) {
  auto flat = x.flatten(1);
  const auto count = static_cast<int64_t>(std::floor(static_cast<double>(flat.size(1)) * ratio));
  if (count == 0) return x;
  const auto smallest = std::get<1>(flat.topk(count, 1, /*largest=*/false, /*sorted=*/false));
  auto kept = flat.scatter(1, smallest, 0.0);
  if (keep_first) kept.select(1, 0).copy_(flat.select(1, 0));
  return kept.view_as(x);
}

at::Tensor upsample(const at::Tensor& x, std::vector<int64_t> size) {
  const auto rows = x.size(-2), columns = x.size(-1);
  const auto planes = x.reshape({-1, 1, rows, columns});
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes[sizes.size() - 2] = size[0];
  sizes[sizes.size() - 1] = size[1];
  return at::upsample_bilinear2d(planes, size, /*align_corners=*/false).reshape(sizes);
}

// Noise for sample i depends on the seed and on i alone, so that neither chunking nor batching changes it.
at::Tensor noise(const at::Tensor& like, const at::Tensor& samples, const Attributes& set) {
  const auto seed = static_cast<uint64_t>(set.number("seed"));
  const bool is_normal = set.text("distribution") == "normal";
  const auto row_sizes = like.sizes().slice(1).vec();
  std::map<int64_t, at::Tensor> drawn;
  std::vector<at::Tensor> rows;
  const auto on_cpu = samples.to(at::kCPU);
  for (int64_t i = 0; i < like.size(0); ++i) {
    const auto sample = on_cpu.data_ptr<int64_t>()[i];
    auto& row = drawn[sample];
    if (!row.defined()) {
      auto generator = at::make_generator<at::CPUGeneratorImpl>(seed * 1000003ULL + static_cast<uint64_t>(sample));
      row = is_normal ? at::randn(row_sizes, generator, at::kFloat) : at::rand(row_sizes, generator, at::kFloat);
      row = row.to(like.device());
    }
    rows.push_back(row);
  }
  return at::stack(rows);
}

const std::map<std::string, Operation>& table() {
  static const auto* operations = new std::map<std::string, Operation>{
      {"neg", unary(&at::neg)},
      {"relu", unary(&at::relu)},
      {"sigmoid", unary(&at::sigmoid)},
      {"tanh", unary(&at::tanh)},
      {"exp", unary(&at::exp)},
      {"log", unary(&at::log)},
      {"sqrt", unary(&at::sqrt)},
      {"abs", unary(&at::abs)},
      {"square", unary(&at::square)},
      {"mul", binary(&at::mul)},
      {"div", binary(&at::div)},
      {"maximum", binary(&at::maximum)},
      {"minimum", binary(&at::minimum)},
      {"add", plain([](const Tensors& in, const Attributes&) { return in[0] + in[1]; })},
      {"sub", plain([](const Tensors& in, const Attributes&) { return in[0] - in[1]; })},
      {"scale", plain([](const Tensors& in, const Attributes& set) { return in[0] * set.number("factor"); })},
      {"shift", plain([](const Tensors& in, const Attributes& set) { return in[0] + set.number("by"); })},
      {"power", plain([](const Tensors& in, const Attributes& set) { return in[0].pow(set.number("exponent")); })},
      {"greater", plain([](const Tensors& in, const Attributes&) { return (in[0] > in[1]).to(at::kFloat); })},
      {"clamp", plain([](const Tensors& in, const Attributes& set) {
         return in[0].clamp(set.number("low"), set.number("high"));
       })},
      {"softmax", plain([](const Tensors& in, const Attributes& set) { return in[0].softmax(set.integer("axis")); })},
      {"sum", plain([](const Tensors& in, const Attributes& set) { return in[0].sum(set.integers("axes")); })},
      {"mean", plain([](const Tensors& in, const Attributes& set) { return in[0].mean(set.integers("axes")); })},
      {"max", plain([](const Tensors& in, const Attributes& set) { return in[0].amax(set.integers("axes")); })},
      {"min", plain([](const Tensors& in, const Attributes& set) { return in[0].amin(set.integers("axes")); })},
      {"matmul", binary(&at::matmul)},
      {"permute", plain([](const Tensors& in, const Attributes& set) { return in[0].permute(set.integers("order")); })},
      {"unsqueeze", plain([](const Tensors& in, const Attributes& set) { return in[0].unsqueeze(set.integer("axis")); })},
      {"split", plain([](const Tensors& in, const Attributes& set) {
         return in[0].unflatten(set.integer("axis"), set.integers("sizes"));
       })},
      {"narrow", plain([](const Tensors& in, const Attributes& set) {
         return in[0].narrow(set.integer("axis"), set.integer("start"), set.integer("length"));
       })},
      {"select", plain([](const Tensors& in, const Attributes& set) {
         return in[0].select(set.integer("axis"), set.integer("index"));
       })},
      {"stack", plain([](const Tensors& in, const Attributes& set) { return at::stack(in, set.integer("axis")); })},
      {"take", plain([](const Tensors& in, const Attributes&) { return in[0].index_select(0, in[1].to(at::kLong)); })},
      {"eye_like", plain([](const Tensors& in, const Attributes&) {
         return at::eye(in[0].size(-1), in[0].options()).expand_as(in[0]);
       })},
      {"zero_smallest", plain([](const Tensors& in, const Attributes& set) {
         return zero_smallest(in[0], set.number("ratio"), set.boolean("keep_first"));
       })},
      {"scale_to_unit", plain([](const Tensors& in, const Attributes&) { return scale_to_unit(in[0]); })},
      {"lowest", plain([](const Tensors& in, const Attributes&) { return lowest(in[0]); })},
      {"highest", plain([](const Tensors& in, const Attributes&) { return highest(in[0]); })},
      {"upsample", plain([](const Tensors& in, const Attributes& set) { return upsample(in[0], set.integers("size")); })},
      {"noise", plain([](const Tensors& in, const Attributes& set) { return noise(in[0], in[1], set); })},
      {"top", {[](const Tensors& in, const Attributes& set, const StepContext&) {
         const auto count = std::min<int64_t>(set.integer("count"), in[0].size(-1));
         const auto [values, indices] = in[0].topk(count, -1);
         return Tensors{values, indices.to(at::kFloat)};
       }}},
      // The score of the class asked for: [batch, classes] to [batch].
      {"score", {[](const Tensors& in, const Attributes&, const StepContext& context) {
                   return Tensors{in[0].gather(1, context.targets.unsqueeze(1)).squeeze(1)};
                 },
                 /*reads_target=*/true}},
      // The row of the class asked for: [classes, ...] to [batch, ...].
      {"class_row", {[](const Tensors& in, const Attributes&, const StepContext& context) {
                       return Tensors{in[0].index_select(0, context.targets)};
                     },
                     /*reads_target=*/true}},
      {"head_weight", {[](const Tensors&, const Attributes&, const StepContext& context) {
         if (!context.network->head) {
           throw EngineError("METHOD_NOT_APPLICABLE", "The model has no linear head on a pooled feature.");
         }
         return Tensors{context.network->head->weight.to(at::kFloat)};
       }}},
      {"image", {Run(), false, /*is_control=*/true}},
      {"forward", {Run(), false, /*is_control=*/true}},
      {"gradient", {Run(), false, /*is_control=*/true}},
      {"constant", {Run(), false, /*is_control=*/true}},
      {"accumulate", {Run(), false, /*is_control=*/true}},
      {"concatenate", {Run(), false, /*is_control=*/true}},
      {"iterate", {Run(), false, /*is_control=*/true}},
  };
  return *operations;
}

}  // namespace

const Operation* find_operation(const std::string& name) {
  const auto found = table().find(name);
  return found == table().end() ? nullptr : &found->second;
}

}  // namespace sightline
