"""Writes gradients-NET.pt: models small enough that a test computes every gradient by hand. Weights follow from indices
alone.

Usage: python test/parity/methods/gradients_nets.py
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from slim_archive import slim

CLASSES, CHANNELS, HEIGHT, WIDTH, HIDDEN = 5, 3, 4, 6, 4


def weights(*shape: int) -> Tensor:
    """Small whole numbers from -3 to 3, of both signs along every axis."""
    count = torch.Size(shape).numel()
    return (((torch.arange(count) * 7919) % 1009) % 7 - 3).float().reshape(shape)


class Linear(nn.Module):
    """The score is a weighted sum of the pixels: its gradient is the weights, whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(CHANNELS * HEIGHT * WIDTH, CLASSES)
        self.fc.weight.data = weights(CLASSES, CHANNELS * HEIGHT * WIDTH)
        self.fc.bias.data = weights(CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.flatten(images))


class Quadratic(Linear):
    """The same of the squared pixels: the gradient is twice the weight times the pixel."""

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.flatten(images * images))


class Rectified(nn.Module):
    """One ReLU between a mixture of the colours and a weighted sum."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(CHANNELS, HIDDEN, 1, bias=False)
        self.relu = nn.ReLU()
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(HIDDEN * HEIGHT * WIDTH, CLASSES)
        self.mix.weight.data = weights(HIDDEN, CHANNELS, 1, 1)
        self.fc.weight.data = weights(CLASSES, HIDDEN * HEIGHT * WIDTH)
        self.fc.bias.data = weights(CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.flatten(self.relu(self.mix(images))))


if __name__ == "__main__":
    for net in (Linear, Quadratic, Rectified):
        path = HERE / f"gradients-{net.__name__.lower()}.pt"
        torch.jit.trace(net().eval(), torch.rand(1, CHANNELS, HEIGHT, WIDTH)).save(path)
        slim(path)
