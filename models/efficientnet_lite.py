"""EfficientNet-Lite0 in plain PyTorch, under names that read well as the nodes of an explanation.

Every convolution is followed by a batch norm; there is no squeeze and excitation, and the activation is ReLU6. Padding
is TensorFlow's "SAME" for sides that are a multiple of 32, such as 224: where a stride of 2 leaves an odd number of
pixels to add, the right and the lower side get one more.
"""

from __future__ import annotations

import re
from collections import OrderedDict

from torch import Tensor, nn

SIZE = 224
NORM_EPSILON = 1e-3
# Repeats, kernel, stride of the first, expansion, channels: one row a stage.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, LAST = 32, 1280


def conv_unit(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, activation: bool = True
) -> nn.Sequential:
    added = kernel - stride  # by "SAME", of an even side
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if stride > 1:
        layers["pad"] = nn.ZeroPad2d((added // 2, added - added // 2, added // 2, added - added // 2))
    padding = 0 if stride > 1 else kernel // 2
    layers["conv"] = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    layers["norm"] = nn.BatchNorm2d(outputs, eps=NORM_EPSILON)
    if activation:
        layers["act"] = nn.ReLU6()
    return nn.Sequential(layers)


class Block(nn.Module):
    """Wider by a 1x1 convolution, each channel by itself, then narrow again; the input is added where its shape
    fits."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        if expansion > 1:
            self.expand = conv_unit(inputs, width, 1)
        self.depthwise = conv_unit(width, width, kernel, stride, groups=width)
        self.project = conv_unit(width, outputs, 1, activation=False)
        self.expands, self.adds = expansion > 1, stride == 1 and inputs == outputs

    def forward(self, images: Tensor) -> Tensor:
        wide = self.expand(images) if self.expands else images
        narrow = self.project(self.depthwise(wide))
        return narrow + images if self.adds else narrow


class EfficientNetLite0(nn.Module):
    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.stem = conv_unit(3, STEM, 3, stride=2)
        blocks, inputs = [], STEM
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for i in range(repeats):
                blocks.append(Block(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.last_conv = conv_unit(inputs, LAST, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(LAST, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.pool(self.last_conv(self.blocks(self.stem(images)))).flatten(1))


# The names of `efficientnet-lite-pytorch`, and those above.
_NAMES = (
    (r"_conv_stem\.", "stem.conv."),
    (r"_bn0\.", "stem.norm."),
    (r"_blocks\.(\d+)\._expand_conv\.", r"blocks.\1.expand.conv."),
    (r"_blocks\.(\d+)\._bn0\.", r"blocks.\1.expand.norm."),
    (r"_blocks\.(\d+)\._depthwise_conv\.", r"blocks.\1.depthwise.conv."),
    (r"_blocks\.(\d+)\._bn1\.", r"blocks.\1.depthwise.norm."),
    (r"_blocks\.(\d+)\._project_conv\.", r"blocks.\1.project.conv."),
    (r"_blocks\.(\d+)\._bn2\.", r"blocks.\1.project.norm."),
    (r"_conv_head\.", "last_conv.conv."),
    (r"_bn1\.", "last_conv.norm."),
    (r"_fc\.", "classifier."),
)


def own_name(name: str) -> str:
    """Of a tensor of the package's network, in this one."""
    for pattern, own in _NAMES:
        if match := re.match(pattern, name):
            return match.expand(own) + name[match.end() :]
    raise ValueError(f"{name} is no tensor of EfficientNet-Lite0")
