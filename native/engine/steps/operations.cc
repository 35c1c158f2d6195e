#include "engine/steps/operations.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/detach.h>
#include <ATen/ops/div.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/floor.h>
#include <ATen/ops/log.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/neg.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sign.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/square.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/upsample_bicubic2d.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "engine/algorithms/attention_flow.h"
#include "engine/algorithms/cluster_masks.h"
#include "engine/algorithms/components.h"
#include "engine/algorithms/gaussian_blur.h"
#include "engine/algorithms/mean_positive_product.h"
#include "engine/algorithms/non_negative_factors.h"
#include "engine/algorithms/shift.h"
#include "engine/algorithms/spectrum.h"
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

at::Tensor upsample(const at::Tensor& x, const Attributes& set) {
  const auto size = set.integers("size");
  const auto& mode = set.text("mode");
  const bool corners = set.boolean("align_corners");
  const auto rows = x.size(-2), columns = x.size(-1);
  const auto planes = x.reshape({-1, 1, rows, columns});
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes[sizes.size() - 2] = size[0];
  sizes[sizes.size() - 1] = size[1];
  const auto resized = mode == "nearest"   ? at::upsample_nearest2d(planes, size)
                       : mode == "bicubic" ? at::upsample_bicubic2d(planes, size, corners)
                                           : at::upsample_bilinear2d(planes, size, corners);
  return resized.reshape(sizes);
}

// The row of the class asked for, less that of the class it is compared with: [classes, ...] to [batch, ...].
at::Tensor class_row(const at::Tensor& rows, const StepContext& context) {
  auto row = rows.index_select(0, context.targets);
  if (!context.against.defined()) return row;
  const auto other = rows.index_select(0, context.against.clamp_min(0));
  return at::where(per_image(context.against >= 0, row), row - other, row);
}

// The gradient of a mean over space, weighted: what each channel counts, shared among its places, at every place.
at::Tensor spread(const at::Tensor& row, const at::Tensor& like, int64_t axis) {
  std::vector<int64_t> sizes(like.dim(), 1);
  sizes[0] = row.size(0);
  sizes[axis < 0 ? like.dim() + axis : axis] = row.size(1);
  const auto places = static_cast<double>(like.numel() / (row.size(0) * row.size(1)));
  return (row / places).view(sizes).expand_as(like);
}

// The scores of the class asked for and of the one it is compared with (0 where there is none): [batch, 2].
at::Tensor asked_scores(const at::Tensor& scores, const StepContext& context) {
  const auto of = scores.gather(1, context.targets.unsqueeze(1));
  if (!context.against.defined()) return at::cat({of, at::zeros_like(of)}, 1);
  const auto other = scores.gather(1, context.against.clamp_min(0).unsqueeze(1));
  return at::cat({of, at::where(context.against.unsqueeze(1) >= 0, other, at::zeros_like(other))}, 1);
}

const SiteInfo& site_of(const Attributes& set, const StepContext& context) {
  return context.network->attention.at(static_cast<size_t>(set.integer("site")));
}

at::Tensor found(const at::Tensor& constant, const char* what, const std::string& where) {
  if (constant.defined()) return constant.to(at::kFloat);
  throw EngineError("METHOD_NOT_APPLICABLE", std::string("The graph does not tell the ") + what + " of '" + where + "'.");
}

// Noise for sample i depends on the seed and on i alone, so that neither chunking nor batching changes it.
at::Tensor noise(const at::Tensor& like, const at::Tensor& samples, const Attributes& set) {
  const auto seed = static_cast<uint64_t>(set.number("seed"));
  const bool is_normal = set.text("distribution") == "normal";
  const auto row_sizes = like.sizes().slice(1).vec();
  std::map<int64_t, at::Tensor> drawn;
  std::vector<at::Tensor> rows;
  const auto on_cpu = samples.to(at::kCPU, at::kLong);
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

Operation on_host(Operation operation) {
  operation.reads_host = true;
  return operation;
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
      {"floor", unary(&at::floor)},
      {"sign", unary(&at::sign)},
      {"sin", unary(&at::sin)},
      {"cos", unary(&at::cos)},
      {"detach", unary(&at::detach)},
      // A leaf: what is computed from it is recorded, as far as a gradient needs it.
      {"variable", plain([](const Tensors& in, const Attributes&) { return in[0].detach().clone().requires_grad_(true); })},
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
      {"equal", plain([](const Tensors& in, const Attributes&) { return (in[0] == in[1]).to(at::kFloat); })},
      {"flip", plain([](const Tensors& in, const Attributes& set) { return in[0].flip({set.integer("axis")}); })},
      {"crop", on_host(plain([](const Tensors& in, const Attributes& set) {
         const auto size = set.integers("size");
         return crop_each(in[0], in[1], in[2], size[0], size[1]);
       }))},
      {"roll", on_host(plain([](const Tensors& in, const Attributes&) { return roll_each(in[0], in[1], in[2]); }))},
      {"blur", on_host(plain([](const Tensors& in, const Attributes& set) {
         return gaussian_blur(in[0], set.integer("size"), set.number("sigma"));
       }))},
      {"real_from_spectrum", on_host(plain([](const Tensors& in, const Attributes& set) {
         const auto size = set.integers("size");
         return real_from_spectrum(in[0], size[0], size[1]);
       }))},
      {"gather", plain([](const Tensors& in, const Attributes&) { return in[0].gather(-1, in[1].to(at::kLong)); })},
      {"pick", plain([](const Tensors& in, const Attributes&) {
         const auto rows = at::arange(in[0].size(0), in[1].options().dtype(at::kLong));
         return in[0].index({rows, in[1].to(at::kLong)});
       })},
      {"principal_component", on_host(plain([](const Tensors& in, const Attributes&) { return principal_component(in[0]); }))},
      {"kernel_component", on_host(plain([](const Tensors& in, const Attributes&) { return kernel_component(in[0]); }))},
      {"attention_flow", on_host({[](const Tensors& in, const Attributes& set, const StepContext& context) {
         return Tensors{attention_flow(in, set.integer("source"), *context.cancelled)};
       }})},
      {"cluster_masks", on_host({[](const Tensors& in, const Attributes& set, const StepContext&) {
         auto clusters = cluster_masks(in[0], set.number("threshold"));
         return Tensors{clusters.sums, clusters.count.to(at::kFloat)};
       }})},
      {"non_negative_factors", on_host({[](const Tensors& in, const Attributes& set, const StepContext& context) {
         auto factors = non_negative_factors(in[0], set.integer("components"), *context.cancelled);
         return Tensors{factors.vectors, factors.maps};
       }})},
      {"output_projection", {[](const Tensors&, const Attributes& set, const StepContext& context) {
         const auto& site = site_of(set, context);
         return Tensors{found(site.output_projection, "output projection", site.name)};
       }}},
      {"norm_weight", {[](const Tensors&, const Attributes& set, const StepContext& context) {
         const auto& site = site_of(set, context);
         return Tensors{found(site.norm_weight, "norm behind the attention", site.name)};
       }}},
      {"bias", {[](const Tensors&, const Attributes& set, const StepContext& context) {
         for (const auto& node : context.network->nodes) {
           if (node.name == set.text("node")) return Tensors{found(node.bias, "bias", node.name)};
         }
         throw EngineError("UNKNOWN_NODE", "The model has no node '" + set.text("node") + "'.");
       }}},
      {"clamp", plain([](const Tensors& in, const Attributes& set) {
         return in[0].clamp(set.number("low"), set.number("high"));
       })},
      {"softmax", plain([](const Tensors& in, const Attributes& set) { return in[0].softmax(set.integer("axis")); })},
      {"sum", plain([](const Tensors& in, const Attributes& set) { return in[0].sum(set.integers("axes")); })},
      {"mean", plain([](const Tensors& in, const Attributes& set) { return in[0].mean(set.integers("axes")); })},
      {"max", plain([](const Tensors& in, const Attributes& set) { return in[0].amax(set.integers("axes")); })},
      {"min", plain([](const Tensors& in, const Attributes& set) { return in[0].amin(set.integers("axes")); })},
      {"spread", plain([](const Tensors& in, const Attributes& set) { return spread(in[0], in[1], set.integer("axis")); })},
      {"mean_positive_product", plain([](const Tensors& in, const Attributes& set) {
         return mean_positive_product(in[0], in[1], set.integer("axis"));
       })},
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
      {"upsample", plain([](const Tensors& in, const Attributes& set) { return upsample(in[0], set); })},
      {"noise", on_host(plain([](const Tensors& in, const Attributes& set) { return noise(in[0], in[1], set); }))},
      {"top", {[](const Tensors& in, const Attributes& set, const StepContext&) {
         const auto count = std::min<int64_t>(set.integer("count"), in[0].size(-1));
         const auto [values, indices] = in[0].topk(count, -1);
         return Tensors{values, indices.to(at::kFloat)};
       }}},
      // The score of the class asked for: [batch, classes] to [batch].
      {"score", {[](const Tensors& in, const Attributes&, const StepContext& context) {
                   const auto scores = asked_scores(in[0], context);
                   return Tensors{scores.select(1, 0) - scores.select(1, 1)};
                 },
                 /*reads_target=*/true}},
      {"asked", {[](const Tensors& in, const Attributes&, const StepContext& context) {
                   return Tensors{asked_scores(in[0], context)};
                 },
                 /*reads_target=*/true}},
      {"target", {[](const Tensors&, const Attributes&, const StepContext& context) {
                    return Tensors{context.targets.to(at::kFloat)};
                  },
                  /*reads_target=*/true}},
      {"class_row", {[](const Tensors& in, const Attributes&, const StepContext& context) {
                       return Tensors{class_row(in[0], context)};
                     },
                     /*reads_target=*/true}},
      {"head_weight", {[](const Tensors&, const Attributes&, const StepContext& context) {
         if (!context.network->head) {
           throw EngineError("METHOD_NOT_APPLICABLE", "The model has no linear head on a pooled feature.");
         }
         return Tensors{context.network->head->weight.to(at::kFloat)};
       }}},
      {"image", {Run(), false, /*is_control=*/true}},
      {"given", {Run(), false, /*is_control=*/true, /*reads_host=*/true}},
      {"forward", {Run(), false, /*is_control=*/true}},
      {"resume", {Run(), false, /*is_control=*/true}},
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
