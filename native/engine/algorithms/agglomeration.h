// Hierarchical clustering with complete linkage.
#pragma once

#include <cstdint>
#include <vector>

namespace sightline {

// `distances`: symmetric, count x count, all finite. Merges the two nearest clusters for as long as they lie nearer than
// `threshold`, where the distance of two clusters is that of their farthest members. Gives each item's cluster, numbered
// from 0 as scikit-learn's AgglomerativeClustering numbers them. Of equal distances any may be merged first.
std::vector<int64_t> complete_linkage(std::vector<double> distances, int64_t count, double threshold);

}  // namespace sightline
