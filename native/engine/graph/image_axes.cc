#include "engine/graph/image_axes.h"

#include <torch/csrc/jit/ir/constants.h>

#include <algorithm>
#include <unordered_set>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

namespace {

// Gives as many channels as it takes, whatever its settings.
bool keeps_channels(const Node* node) {
  return node->kind() == mark_symbol() || is_any_of(node, {"to",
                                                           "type_as",
                                                           "float",
                                                           "half",
                                                           "contiguous",
                                                           "clone",
                                                           "detach",
                                                           "add",
                                                           "add_",
                                                           "sub",
                                                           "sub_",
                                                           "rsub",
                                                           "mul",
                                                           "mul_",
                                                           "div",
                                                           "div_",
                                                           "clamp",
                                                           "clamp_",
                                                           "pad",
                                                           "constant_pad_nd",
                                                           "reflection_pad2d",
                                                           "replication_pad2d",
                                                           "batch_norm",
                                                           "max_pool2d",
                                                           "avg_pool2d",
                                                           "upsample_nearest2d",
                                                           "upsample_bilinear2d",
                                                           "upsample_bicubic2d",
                                                           "_upsample_bilinear2d_aa",
                                                           "_upsample_bicubic2d_aa",
                                                           "adaptive_avg_pool2d",
                                                           "relu",
                                                           "relu_",
                                                           "quantize_per_tensor",
                                                           "dequantize"});
}

class Reader {
 public:
  Reader(const Graph& graph, const torch::jit::Module& module) : self_(graph.inputs()[0]), module_(module) {
    if (graph.inputs().size() > 1) image_ = {graph.inputs()[1]};
    read(graph.block());
  }

  const ImageAxes& axes() const { return axes_; }

 private:
  std::optional<at::Tensor> parameter(const Value* value) const {
    if (const auto constant = constant_of(value); constant && constant->isTensor()) return constant->toTensor();
    std::vector<std::string> path;
    for (; value->node()->kind() == c10::prim::GetAttr; value = value->node()->input(0))
      path.push_back(value->node()->s(c10::attr::name));
    if (value != self_) return std::nullopt;
    c10::IValue found = module_._ivalue();
    for (auto name = path.rbegin(); name != path.rend(); ++name) {
      if (!found.isObject() || !found.toObject()->type()->hasAttribute(*name)) return std::nullopt;
      found = found.toObject()->getAttr(*name);
    }
    return found.isTensor() ? std::optional(found.toTensor()) : std::nullopt;
  }

  bool is_image(const Value* value) const { return image_.count(value) != 0; }

  // Whether the walk is over.
  bool read(const Block* block) {
    for (const Node* node : block->nodes()) {
      for (const Block* inner : node->blocks()) {
        for (size_t i = 0; node->kind() == c10::prim::Loop && i + 1 < inner->inputs().size(); ++i) {
          if (is_image(node->input(i + 2))) image_.insert(inner->inputs()[i + 1]);
        }
        if (read(inner)) return true;
        // A loop gives the condition for another turn before what it carries.
        const size_t first = node->kind() == c10::prim::Loop ? 1 : 0;
        for (size_t i = first; i < inner->outputs().size(); ++i) {
          if (is_image(inner->outputs()[i])) image_.insert(node->outputs()[i - first]);
        }
      }
      if (node->inputs().empty() || !is_image(node->input(0))) continue;
      if (is_any_of(node, {"_convolution", "conv2d", "_convolution_mode", "convolution"})) {
        const auto weight = parameter(node->input(1));
        if (!weight || weight->dim() != 4) return true;
        const auto groups =
            constant_of(node->input(is_aten(node, "conv2d") || is_aten(node, "_convolution_mode") ? 6 : 8));
        if (groups && groups->isInt()) axes_.channels = weight->size(1) * groups->toInt();
        return true;
      }
      if (is_aten(node, "permute") && orders(node->input(1), {0, 3, 1, 2})) {
        axes_.is_channels_last = true;
      } else if (!keeps_channels(node)) {
        continue;
      }
      image_.insert(node->outputs().begin(), node->outputs().end());
    }
    return false;
  }

  static bool orders(const Value* list, std::vector<int64_t> wanted) {
    if (list->node()->kind() != c10::prim::ListConstruct) return false;
    std::vector<int64_t> found;
    for (const Value* each : list->node()->inputs()) {
      const auto constant = constant_of(each);
      if (!constant || !constant->isInt()) return false;
      found.push_back(constant->toInt() < 0 ? constant->toInt() + 4 : constant->toInt());
    }
    return found == wanted;
  }

  const Value* self_;
  const torch::jit::Module& module_;
  std::unordered_set<const Value*> image_;  // the image, and what has its channels
  ImageAxes axes_;
};

}  // namespace

ImageAxes read_image_axes(const Graph& graph, const torch::jit::Module& module) { return Reader(graph, module).axes(); }

void take_channels_first(Graph& graph) {
  Value* image = graph.inputs()[1];
  const torch::jit::WithInsertPoint start(*graph.nodes().begin());
  Value* moved = graph.insert(c10::aten::permute, {image, c10::IValue(std::vector<int64_t>{0, 2, 3, 1})});
  image->replaceAllUsesAfterNodeWith(moved->node(), moved);
}

}  // namespace sightline
