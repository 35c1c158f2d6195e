"""Counts operations as `sightline inspect` does."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


@torch.no_grad()
def count_flops(model: nn.Module, side: int) -> int:
    """Of one image, a multiplication and its addition counted as two: convolutions, linear layers, matrix products.
    What depends on weights alone, such as Swin V2's position biases, is no image's."""
    device = next(model.parameters()).device

    def of(images: int) -> int:
        # Written out, as the counter knows no fused attention of the CPU.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            model(torch.zeros(images, 3, side, side, device=device))
        return counter.get_total_flops()

    return of(2) - of(1)
