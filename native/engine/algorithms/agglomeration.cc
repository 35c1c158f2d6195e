#include "engine/algorithms/agglomeration.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace sightline {

namespace {

// Of two clusters, each named by one of its items, at first; by the number of its node in the tree, later. Items are the
// nodes 0 .. count - 1, the node of the merge i is count + i.
struct Merge {
  int64_t left;
  int64_t right;
  double distance;
};

// All count - 1 merges in order of their distance, by chains of nearest neighbours (Murtagh, 1983): each chain ends at
// two clusters that are each other's nearest, and with complete linkage no merge elsewhere can change that.
std::vector<Merge> merge_all(std::vector<double>& distances, int64_t count) {
  std::vector<bool> is_gone(count, false);
  std::vector<int64_t> chain;
  std::vector<Merge> merges;
  while (static_cast<int64_t>(merges.size()) < count - 1) {
    if (chain.empty()) chain.push_back(std::find(is_gone.begin(), is_gone.end(), false) - is_gone.begin());
    const auto end = chain.back();
    const auto previous = chain.size() > 1 ? chain[chain.size() - 2] : -1;
    // Where another is as near as the previous, the previous: the chain would never end otherwise.
    auto nearest = previous;
    auto least = previous >= 0 ? distances[end * count + previous] : std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < count; ++i) {
      if (is_gone[i] || i == end || !(distances[end * count + i] < least)) continue;
      least = distances[end * count + i];
      nearest = i;
    }
    if (nearest != previous) {
      chain.push_back(nearest);
      continue;
    }
    chain.resize(chain.size() - 2);
    const auto gone = std::min(end, nearest), kept = std::max(end, nearest);
    merges.push_back({gone, kept, least});
    is_gone[gone] = true;
    for (int64_t i = 0; i < count; ++i) {
      const auto farthest = std::max(distances[gone * count + i], distances[kept * count + i]);
      distances[kept * count + i] = distances[i * count + kept] = farthest;
    }
  }
  std::stable_sort(merges.begin(), merges.end(),
                   [](const Merge& a, const Merge& b) { return a.distance < b.distance; });
  return merges;
}

// From items to nodes of the tree, the smaller number on the left.
void name_nodes(std::vector<Merge>& merges, int64_t count) {
  std::vector<int64_t> parents(2 * count - 1);
  std::iota(parents.begin(), parents.end(), 0);
  const auto top = [&](int64_t node) {
    while (parents[node] != node) node = parents[node] = parents[parents[node]];
    return node;
  };
  for (size_t i = 0; i < merges.size(); ++i) {
    const auto a = top(merges[i].left), b = top(merges[i].right);
    parents[a] = parents[b] = count + static_cast<int64_t>(i);
    merges[i].left = std::min(a, b);
    merges[i].right = std::max(a, b);
  }
}

// A binary heap, largest first. Clusters are numbered by their places in it, so the places are fixed to those of
// Python's heapq, which a standard library's heap functions do not promise.
class Heap {
 public:
  const std::vector<int64_t>& nodes() const { return nodes_; }

  void push(int64_t node) {
    nodes_.push_back(node);
    rise(nodes_.size() - 1);
  }

  // Puts `node` in the place of the largest.
  void replace(int64_t node) {
    size_t place = 0;
    // The larger child moves up all the way to a leaf; only then does the node look for its place, from below.
    for (size_t child = 1; child < nodes_.size(); child = 2 * place + 1) {
      if (child + 1 < nodes_.size() && nodes_[child + 1] > nodes_[child]) ++child;
      nodes_[place] = nodes_[child];
      place = child;
    }
    nodes_[place] = node;
    rise(place);
  }

 private:
  void rise(size_t place) {
    const auto node = nodes_[place];
    for (; place > 0 && nodes_[(place - 1) / 2] < node; place = (place - 1) / 2)
      nodes_[place] = nodes_[(place - 1) / 2];
    nodes_[place] = node;
  }

  std::vector<int64_t> nodes_;
};

}  // namespace

std::vector<int64_t> complete_linkage(std::vector<double> distances, int64_t count, double threshold) {
  std::vector<int64_t> labels(count, 0);
  if (count < 2) return labels;
  auto merges = merge_all(distances, count);
  name_nodes(merges, count);
  // From the root down, each merge that lies too far is undone, the last one first.
  Heap heap;
  heap.push(2 * count - 2);
  for (const auto& merge : merges) {
    if (merge.distance < threshold) continue;
    const auto& last = merges[heap.nodes()[0] - count];
    heap.push(last.left);
    heap.replace(last.right);
  }
  for (size_t label = 0; label < heap.nodes().size(); ++label) {
    std::vector<int64_t> open{heap.nodes()[label]};
    while (!open.empty()) {
      const auto node = open.back();
      open.pop_back();
      if (node < count) {
        labels[node] = static_cast<int64_t>(label);
      } else {
        open.push_back(merges[node - count].left);
        open.push_back(merges[node - count].right);
      }
    }
  }
  return labels;
}

}  // namespace sightline
