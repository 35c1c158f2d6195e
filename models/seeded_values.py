"""Random weights from a seed that hide nothing: no bias, token or embedding is zero, no scale is one.

A library's own start would not do to check a graph by: its layer scales of 1e-5 and biases of zero make a wrong
order of layers, or a bias that is left out, invisible in the logits.
"""

from __future__ import annotations

import zlib

import torch
from torch import Tensor, nn


def seeded_tensor(name: str, like: Tensor, seed: int) -> Tensor:
    """Values for the tensor `name`, from `seed` and the name alone: another tensor more or less changes nothing."""
    generator = torch.Generator().manual_seed(seed * 2**32 + zlib.crc32(name.encode()))
    leaf = name.rpartition(".")[2]
    if not like.is_floating_point():
        return like.clone()
    if leaf == "running_var":
        return 0.5 + torch.rand(like.shape, generator=generator)
    values = torch.randn(like.shape, generator=generator)
    if leaf in ("gamma", "lambda1", "layer_scale", "layer_scale_parameter"):
        return values.mul_(0.1).add_(0.4)
    if leaf == "weight" and like.dim() == 1:  # of a norm
        return values.mul_(0.2).add_(1)
    if like.dim() >= 2 and leaf in ("weight", "in_proj_weight"):
        return values.mul_((like.numel() / like.shape[0]) ** -0.5 * 1.2)
    return values.mul_(0.2)  # biases, tokens, positions, running means


@torch.no_grad()
def seed_model(model: nn.Module, seed: int) -> nn.Module:
    """Fills the parameters and persistent buffers of `model` in place."""
    for name, tensor in model.state_dict().items():
        tensor.copy_(seeded_tensor(name, tensor, seed))
    return model
