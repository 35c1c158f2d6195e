// What a model's forward says of the images that it takes.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <optional>

namespace sightline {

struct ImageAxes {
  std::optional<int64_t> channels;  // none where no convolution reads the image
  bool is_channels_last = false;  // whether the forward begins by moving the channels from the last place to the second
};

// Read from the first convolution of the inlined forward. `graph` has the module and the image as its first inputs.
ImageAxes read_image_axes(const torch::jit::Graph& graph, const torch::jit::Module& module);

// Has `graph` take [N, channels, H, W] where it took [N, H, W, channels].
void take_channels_first(torch::jit::Graph& graph);

}  // namespace sightline
