// Operations over axes, and on the places and shapes of values.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "engine/algorithms/mean_positive_product.h"
#include "engine/algorithms/shift.h"
#include "engine/algorithms/smallest.h"
#include "engine/algorithms/upload.h"
#include "engine/steps/operation_builders.h"

namespace sightline {

namespace {

// Each image by itself: the smallest and the largest value over all axes but the batch.
at::Tensor lowest(const at::Tensor& x) { return x.flatten(1).amin(1); }
at::Tensor highest(const at::Tensor& x) { return x.flatten(1).amax(1); }

// To [0, 1] by each image's own range. A flat map becomes zeros, not NaN.
at::Tensor scale_to_unit(const at::Tensor& x) {
  const auto low = lowest(x);
  const auto range = highest(x) - low;
  const auto divisor = at::where(range > 0, range, at::ones_like(range));
  return (x - per_image(low, x)) / per_image(divisor, x);
}

// The `count` smallest of each row as zeros; of equal ones the first. Undefined where a value is not a number: a comparison
// of it orders nothing. Takes a tenth of the time of topk, which carries places along.
at::Tensor without_smallest_on_cpu(const at::Tensor& flat, int64_t count) {
  const auto kept = flat.clone(at::MemoryFormat::Contiguous);
  const int64_t length = flat.size(1);
  std::atomic<bool> has_nan{false};
  at::parallel_for(0, flat.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch;
    for (int64_t row = begin; row < end; ++row) {
      float* values = kept.mutable_data_ptr<float>() + row * length;
      // Without a branch, so that it is done several at a time; so is what follows.
      int is_nan = 0;
      for (int64_t i = 0; i < length; ++i) is_nan |= static_cast<int>(std::isnan(values[i]));
      if (is_nan != 0) {
        has_nan = true;
        return;
      }
      const float largest = nth_smallest(values, length, count, scratch);
      int64_t smaller = 0;
      for (int64_t i = 0; i < length; ++i) smaller += static_cast<int64_t>(values[i] < largest);
      for (int64_t i = 0, equal = count - smaller; equal > 0; ++i) {
        if (values[i] != largest) continue;
        values[i] = 0;
        --equal;
      }
      for (int64_t i = 0; i < length; ++i) values[i] = values[i] < largest ? 0 : values[i];
    }
  });
  return has_nan ? at::Tensor() : kept;
}

// Zeroes the `floor(N * N * ratio)` smallest entries of each image's matrix. vit-explain keeps the first entry,
// [class, class], whatever its size.
at::Tensor zero_smallest(const at::Tensor& x, double ratio, bool keep_first) {
  auto flat = x.flatten(1);
  const auto count = static_cast<int64_t>(std::floor(static_cast<double>(flat.size(1)) * ratio));
  if (count == 0) return x;
  at::Tensor kept;
  if (flat.is_cpu() && flat.scalar_type() == at::kFloat && !flat.requires_grad())
    kept = without_smallest_on_cpu(flat, count);
  if (!kept.defined())
    kept = flat.scatter(1, std::get<1>(flat.topk(count, 1, /*largest=*/false, /*sorted=*/false)), 0.0);
  if (keep_first) kept.select(1, 0).copy_(flat.select(1, 0));
  return kept.view_as(x);
}

// Each image's places numbered from the largest value down: 0, 1, ... Of equal values the first place comes first, or all
// have the mean or the last of their numbers.
at::Tensor ranks(const at::Tensor& x, const Attributes& set) {
  const auto flat = x.flatten(1).contiguous();
  const auto [sorted, order] = flat.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true);
  if (const auto ties = set.text("ties"); ties != "first") {
    // Of ascending values the first and the last place at which each could be put in.
    const auto ascending = sorted.neg().contiguous(), sought = flat.neg();
    const auto after = at::searchsorted(ascending, sought, false, true);
    if (ties == "last") return (after.to(flat.scalar_type()) - 1).view_as(x);
    const auto before = at::searchsorted(ascending, sought);
    return ((before + after).to(flat.scalar_type()) - 1).div(2).view_as(x);
  }
  const auto numbers = at::arange(flat.size(1), flat.options()).expand_as(flat);
  return at::zeros_like(flat).scatter(1, order, numbers).view_as(x);
}

// The gradient of a mean over space, weighted: what each channel counts, shared among its places, at every place.
at::Tensor spread(const at::Tensor& row, const at::Tensor& like, int64_t axis) {
  std::vector<int64_t> sizes(like.dim(), 1);
  sizes[0] = row.size(0);
  sizes[axis < 0 ? like.dim() + axis : axis] = row.size(1);
  const int64_t of_a_channel = like.numel() / (row.size(0) * row.size(1));
  const auto places = static_cast<double>(of_a_channel);
  return (row / places).view(sizes).expand_as(like);
}

// Noise for sample i depends on the seed and on i alone, so that neither chunking nor batching changes it. The first input is
// what it is to look like, or the setting `sizes` says so; the last is each row's sample, or `sample` is that of all.
Tensors noise(const Tensors& in, const Attributes& set, const StepContext& context) {
  const auto seed = static_cast<uint64_t>(set.number("seed"));
  const bool is_normal = set.text("distribution") == "normal";
  const auto row_sizes = set.has("sizes") ? set.integers("sizes") : in[0].sizes().slice(1).vec();
  const auto device = in[0].device();
  const auto draw = [&](int64_t sample) {
    auto generator = at::make_generator<at::CPUGeneratorImpl>(seed * 1000003ULL + static_cast<uint64_t>(sample));
    return is_normal ? at::randn(row_sizes, generator, at::kFloat) : at::rand(row_sizes, generator, at::kFloat);
  };
  if (set.has("sample")) {
    const auto row = upload(draw(set.integer("sample")), device);
    return {at::stack(Tensors(static_cast<size_t>(in[0].size(0)), row))};
  }
  std::map<int64_t, at::Tensor> drawn;
  Tensors rows;
  const auto samples = context.twins->on_host(in.back()).to(at::kLong);
  for (int64_t i = 0; i < samples.size(0); ++i) {
    const auto sample = samples.data_ptr<int64_t>()[i];
    auto& row = drawn[sample];
    if (!row.defined()) row = draw(sample);
    rows.push_back(row);
  }
  return {upload(at::stack(rows), device)};
}

}  // namespace

Operations axis_operations() {
  return {
      {"highest", unary(&highest)},
      {"lowest", unary(&lowest)},
      {"scale_to_unit", unary(&scale_to_unit)},
      {"max", unary([](const at::Tensor& x, const Attributes& set) { return x.amax(set.integers("axes")); })},
      {"mean", unary([](const at::Tensor& x, const Attributes& set) { return x.mean(set.integers("axes")); })},
      {"min", unary([](const at::Tensor& x, const Attributes& set) { return x.amin(set.integers("axes")); })},
      {"ranks", unary(&ranks)},
      {"softmax", unary([](const at::Tensor& x, const Attributes& set) { return x.softmax(set.integer("axis")); })},
      {"sum", unary([](const at::Tensor& x, const Attributes& set) { return x.sum(set.integers("axes")); })},
      {"zero_smallest", unary([](const at::Tensor& x, const Attributes& set) {
         return zero_smallest(x, set.number("ratio"), set.boolean("keep_first"));
       })},
      {"top", with_context({1, 1},
                           [](const Tensors& in, const Attributes& set, const StepContext&) {
                             const auto count = std::min<int64_t>(set.integer("count"), in[0].size(-1));
                             const auto [values, indices] = in[0].topk(count, -1);
                             return Tensors{values, indices.to(at::kFloat)};
                           },
                           {2, 2})},
      {"matmul", binary(&at::matmul)},
      {"mean_positive_product", binary([](const at::Tensor& a, const at::Tensor& b, const Attributes& set) {
         return mean_positive_product(a, b, set.integer("axis"));
       })},

      {"diagonal", unary([](const at::Tensor& x, const Attributes& set) {
         return x.diagonal(0, set.integer("rows"), set.integer("columns"));
       })},
      {"eye_like",
       unary([](const at::Tensor& x, const Attributes&) { return at::eye(x.size(-1), x.options()).expand_as(x); })},
      // Laid out as `like` is, which its readers may be quicker with.
      {"expand_like",
       binary([](const at::Tensor& x, const at::Tensor& like) { return at::zeros_like(like.detach()) + x; })},
      {"flip", unary([](const at::Tensor& x, const Attributes& set) { return x.flip({set.integer("axis")}); })},
      {"narrow", unary([](const at::Tensor& x, const Attributes& set) {
         return x.narrow(set.integer("axis"), set.integer("start"), set.integer("length"));
       })},
      {"permute", unary([](const at::Tensor& x, const Attributes& set) { return x.permute(set.integers("order")); })},
      {"select", unary([](const at::Tensor& x, const Attributes& set) {
         return x.select(set.integer("axis"), set.integer("index"));
       })},
      {"split", unary([](const at::Tensor& x, const Attributes& set) {
         return x.unflatten(set.integer("axis"), set.integers("sizes"));
       })},
      {"unsqueeze", unary([](const at::Tensor& x, const Attributes& set) { return x.unsqueeze(set.integer("axis")); })},
      {"gather",
       binary([](const at::Tensor& x, const at::Tensor& indices) { return x.gather(-1, indices.to(at::kLong)); })},
      {"pick", binary([](const at::Tensor& x, const at::Tensor& index) {
         const auto rows = at::arange(x.size(0), index.options().dtype(at::kLong));
         return x.index({rows, index.to(at::kLong)});
       })},
      {"spread", binary([](const at::Tensor& row, const at::Tensor& like, const Attributes& set) {
         return spread(row, like, set.integer("axis"));
       })},
      {"take", binary([](const at::Tensor& table, const at::Tensor& index) {
         return table.index_select(0, index.to(at::kLong));
       })},
      {"stack", reading({1, Count::kAny},
                        [](const Tensors& in, const Attributes& set) { return at::stack(in, set.integer("axis")); })},
      {"crop", on_host(reading({3, 3},
                               [](const Tensors& in, const Attributes& set) {
                                 const auto size = set.integers("size");
                                 return crop_each(in[0], in[1], in[2], size[0], size[1]);
                               }))},
      {"roll",
       on_host(reading({3, 3}, [](const Tensors& in, const Attributes&) { return roll_each(in[0], in[1], in[2]); }))},
      {"noise", on_host(with_context({1, 2}, noise))},
  };
}

}  // namespace sightline
