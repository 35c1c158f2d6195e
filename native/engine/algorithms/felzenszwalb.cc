#include "engine/algorithms/felzenszwalb.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "engine/errors.h"

namespace sightline {

namespace {

// As many deviations of the Gaussian are computed.
constexpr double kReach = 4;
// Scales are those of images whose values end at 255, as the authors have them.
constexpr double kAuthorsRange = 255;
// Labels are float32, as all values of a method are.
constexpr int64_t kMostSegments = int64_t{1} << 24;

struct Size {
  int64_t channels, height, width;
  int64_t pixels() const { return height * width; }
};

// The half of a Gaussian, the middle first; all of it sums to 1.
std::vector<double> half_gaussian(double sigma) {
  std::vector<double> weights(static_cast<size_t>(std::lround(kReach * sigma)) + 1);
  for (size_t i = 0; i < weights.size(); ++i) {
    weights[i] = std::exp(-0.5 * static_cast<double>(i) * static_cast<double>(i) / (sigma * sigma));
  }
  const auto sum = 2 * std::accumulate(weights.begin(), weights.end(), 0.0) - weights[0];
  for (auto& weight : weights) weight /= sum;
  return weights;
}

// Of a line that goes on as its mirror image, the border repeated: the place `i` lies at.
int64_t mirrored(int64_t i, int64_t length) {
  const auto turn = 2 * length;
  i = ((i % turn) + turn) % turn;
  return i < length ? i : turn - 1 - i;
}

// Smooths lines of `length` values that lie `step` apart, the one that begins at `first`.
void smooth_line(std::vector<double>& values, int64_t first, int64_t step, int64_t length,
                 const std::vector<double>& weights, std::vector<double>& line) {
  for (int64_t i = 0; i < length; ++i) line[static_cast<size_t>(i)] = values[static_cast<size_t>(first + i * step)];
  const auto at = [&](int64_t i) { return line[static_cast<size_t>(mirrored(i, length))]; };
  for (int64_t i = 0; i < length; ++i) {
    auto sum = line[static_cast<size_t>(i)] * weights[0];
    for (auto far = static_cast<int64_t>(weights.size()) - 1; far > 0; --far) {
      sum += (at(i - far) + at(i + far)) * weights[static_cast<size_t>(far)];
    }
    values[static_cast<size_t>(first + i * step)] = sum;
  }
}

void smooth(std::vector<double>& values, const Size& size, double sigma) {
  const auto weights = half_gaussian(sigma);
  std::vector<double> line(static_cast<size_t>(std::max(size.height, size.width)));
  for (int64_t channel = 0; channel < size.channels; ++channel) {
    const auto plane = channel * size.pixels();
    for (int64_t x = 0; x < size.width; ++x) smooth_line(values, plane + x, size.width, size.height, weights, line);
    for (int64_t y = 0; y < size.height; ++y) smooth_line(values, plane + y * size.width, 1, size.width, weights, line);
  }
}

struct Edge {
  double cost;
  int32_t from, to;
};

// All edges of the grid, the least difference first.
std::vector<Edge> sorted_edges(const std::vector<double>& values, const Size& size) {
  std::vector<Edge> edges;
  edges.reserve(static_cast<size_t>(4 * size.pixels()));
  // From each pixel of the rows and columns given, to the one so far away.
  const auto add = [&](int64_t first_row, int64_t rows, int64_t columns, int64_t down, int64_t right) {
    for (int64_t y = first_row; y < first_row + rows; ++y) {
      for (int64_t x = 0; x < columns; ++x) {
        const auto from = y * size.width + x, to = from + down * size.width + right;
        double sum = 0;
        for (int64_t channel = 0; channel < size.channels; ++channel) {
          const auto* plane = values.data() + channel * size.pixels();
          sum += (plane[to] - plane[from]) * (plane[to] - plane[from]);
        }
        edges.push_back({std::sqrt(sum), static_cast<int32_t>(from), static_cast<int32_t>(to)});
      }
    }
  };
  add(0, size.height, size.width - 1, 0, 1);
  add(0, size.height - 1, size.width, 1, 0);
  add(0, size.height - 1, size.width - 1, 1, 1);
  add(1, size.height - 1, size.width - 1, -1, 1);
  std::stable_sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) { return a.cost < b.cost; });
  return edges;
}

// Segments as trees of pixels, each named by its first pixel.
class Forest {
 public:
  explicit Forest(int64_t pixels) : parents_(static_cast<size_t>(pixels)), sizes_(static_cast<size_t>(pixels), 1) {
    std::iota(parents_.begin(), parents_.end(), 0);
  }

  int32_t root(int32_t pixel) {
    while (parents_[static_cast<size_t>(pixel)] != pixel) {
      auto& parent = parents_[static_cast<size_t>(pixel)];
      parent = parents_[static_cast<size_t>(parent)];
      pixel = parent;
    }
    return pixel;
  }

  int64_t size(int32_t root) const { return sizes_[static_cast<size_t>(root)]; }

  // Two roots into one, which is returned.
  int32_t join(int32_t a, int32_t b) {
    const auto first = std::min(a, b), second = std::max(a, b);
    parents_[static_cast<size_t>(second)] = first;
    sizes_[static_cast<size_t>(first)] += sizes_[static_cast<size_t>(second)];
    return first;
  }

 private:
  std::vector<int32_t> parents_;
  std::vector<int64_t> sizes_;
};

// Writes the segments of one scale, numbered from `number` on; returns the number after the last.
int64_t segment(const std::vector<Edge>& edges, int64_t pixels, double scale, int64_t smallest, int64_t number,
                float* labels) {
  Forest forest(pixels);
  std::vector<double> inner(static_cast<size_t>(pixels), 0);
  const auto room = [&](int32_t root) {
    return inner[static_cast<size_t>(root)] + scale / kAuthorsRange / static_cast<double>(forest.size(root));
  };
  for (const auto& edge : edges) {
    const auto a = forest.root(edge.from), b = forest.root(edge.to);
    if (a == b || !(edge.cost < std::min(room(a), room(b)))) continue;
    inner[static_cast<size_t>(forest.join(a, b))] = edge.cost;
  }
  for (const auto& edge : edges) {
    const auto a = forest.root(edge.from), b = forest.root(edge.to);
    if (a != b && std::min(forest.size(a), forest.size(b)) < smallest) forest.join(a, b);
  }
  for (int32_t pixel = 0; pixel < pixels; ++pixel) {
    // A root is its segment's first pixel, so that its number is written before it is read.
    const auto root = forest.root(pixel);
    labels[pixel] = root == pixel ? static_cast<float>(number++) : labels[root];
  }
  return number;
}

}  // namespace

Segments felzenszwalb(const at::Tensor& images, const SegmentSettings& settings,
                      const std::function<bool()>& cancelled) {
  const Size size{images.size(1), images.size(2), images.size(3)};
  const auto batch = images.size(0), scales = static_cast<int64_t>(settings.scales.size());
  const auto host = images.detach().cpu().to(at::kDouble).contiguous();
  auto labels = at::empty({batch, scales, size.height, size.width}, at::kFloat);
  auto counts = at::empty({batch}, at::kLong);
  for (int64_t image = 0; image < batch; ++image) {
    if (cancelled && cancelled()) throw EngineError("ABORTED", "The request was aborted.");
    const auto* first = host.const_data_ptr<double>() + image * size.channels * size.pixels();
    std::vector<double> values(first, first + size.channels * size.pixels());
    if (!std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); })) {
      throw EngineError("INVALID_INPUT", "The image holds values that are not finite, so it has no segments.");
    }
    smooth(values, size, settings.sigma);
    const auto edges = sorted_edges(values, size);
    int64_t number = 0;
    for (int64_t scale = 0; scale < scales; ++scale) {
      number = segment(edges, size.pixels(), settings.scales[static_cast<size_t>(scale)], settings.smallest, number,
                       labels.mutable_data_ptr<float>() + (image * scales + scale) * size.pixels());
    }
    if (number > kMostSegments) {
      throw EngineError("INVALID_INPUT", "The image falls into " + std::to_string(number) +
                                             " segments, more than the " + std::to_string(kMostSegments) +
                                             " that can be numbered; ask for larger ones.");
    }
    counts.mutable_data_ptr<int64_t>()[image] = number;
  }
  return {labels, counts};
}

}  // namespace sightline
