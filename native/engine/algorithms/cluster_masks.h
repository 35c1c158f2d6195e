// Masks that look alike, added up.
#pragma once

#include <ATen/core/Tensor.h>

namespace sightline {

struct MaskClusters {
  at::Tensor sums;   // [batch, n, H, W]: the sum of each cluster's masks; zeros behind the last cluster
  at::Tensor count;  // [batch] int64, on the CPU: the number of clusters
};

// `masks`: [batch, n, H, W], n >= 1. Agglomerative clustering of each image's masks by cosine distance with complete
// linkage, for as long as two clusters lie nearer than `threshold`; clusters are ordered as scikit-learn numbers them.
// A mask of zeros has the distance 1 from every other.
MaskClusters cluster_masks(const at::Tensor& masks, double threshold);

}  // namespace sightline
