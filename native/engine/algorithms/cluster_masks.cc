#include "engine/algorithms/cluster_masks.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "engine/algorithms/agglomeration.h"
#include "engine/algorithms/upload.h"
#include "engine/errors.h"

namespace sightline {

namespace {

constexpr int64_t kColumns = 8192;  // upcast to double at a time

// [n, n] in double, of the rows of [n, pixels].
at::Tensor cosine_distances(const at::Tensor& rows) {
  auto products = at::zeros({rows.size(0), rows.size(0)}, rows.options().dtype(at::kDouble));
  for (int64_t start = 0; start < rows.size(1); start += kColumns) {
    const auto part = rows.narrow(1, start, std::min(kColumns, rows.size(1) - start)).to(at::kDouble);
    products.addmm_(part, part.t());
  }
  const auto lengths = products.diagonal().sqrt();
  const auto scale = lengths.unsqueeze(0) * lengths.unsqueeze(1);
  const auto cosines = at::where(scale > 0, products / scale, at::zeros_like(products));
  return 1 - cosines.clamp(-1, 1);
}

}  // namespace

MaskClusters cluster_masks(const at::Tensor& masks, double threshold) {
  const auto batch = masks.size(0), count = masks.size(1);
  const auto rows = masks.detach().flatten(2);
  std::vector<at::Tensor> sums, distances_there;
  std::vector<int64_t> counts;
  for (int64_t image = 0; image < batch; ++image) distances_there.push_back(cosine_distances(rows[image]));
  // Fetched together: each fetch waits for the device.
  const auto all_distances = at::stack(distances_there).cpu();
  for (int64_t image = 0; image < batch; ++image) {
    const auto distances = all_distances[image];
    if (!at::isfinite(distances).all().item<bool>()) {
      throw EngineError("INTERNAL", "the masks hold values that are not finite, so they have no distances");
    }
    const auto* values = distances.data_ptr<double>();
    const auto labels = complete_linkage({values, values + distances.numel()}, count, threshold);
    counts.push_back(*std::max_element(labels.begin(), labels.end()) + 1);
    // A product rather than index_add, whose order of adding changes from run to run on CUDA.
    auto members = at::zeros({count, count}, at::kFloat);
    for (int64_t mask = 0; mask < count; ++mask) members[labels[mask]][mask] = 1;
    sums.push_back(upload(members.to(rows.scalar_type()), rows.device())
                       .mm(rows[image])
                       .view({count, masks.size(2), masks.size(3)}));
  }
  return {at::stack(sums), at::tensor(counts, at::kLong)};
}

}  // namespace sightline
