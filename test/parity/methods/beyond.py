"""Writes beyond-NAME.safetensors: maps of Beyond Intuition by its definition, in float64.

Usage: python test/parity/methods/beyond.py [NAME...]

The models, images and classes are those of attention-NAME.safetensors; maps are [B, h, w], raw, on the model's grid.
`test/methods/attention/beyond-intuition.test.ts` holds the options that each one's name stands for.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from attention_subjects import HERE, Subject, archived, look, output_projection, shipped
import torch
from capture import run
from reference_file import save_reference
from torch import Tensor

ARCHIVES = (
    "torchvision-vit-traced",
    "timm-vit-fused-traced",
    "timm-deit-distilled-traced",
    "timm-dinov2-registers-traced",
    "timm-vit-average-traced",
)


def perception(subject: Subject, scaling: str, first: int) -> Tensor:
    """The product of the blocks' matrices, from the number `first` on: [B, N, N]."""
    seen = look(subject)
    identity = torch.eye(seen.attention[0].shape[-1], dtype=torch.float64)
    product = identity.expand(len(subject.images), -1, -1)
    for number, block in enumerate(subject.blocks):
        if number < first:
            continue
        attention = seen.attention[number].detach()
        if scaling == "token":
            projection = output_projection(block)
            values = seen.value[number].detach().transpose(1, 2).flatten(2)
            growth = projection(values).norm(dim=-1) / seen.entered[number].detach().norm(dim=-1)
            scaled = attention.mean(dim=1) @ torch.diag_embed(growth)
        else:
            importance = (attention.transpose(-1, -2) @ seen.gradients[number]).abs().mean(dim=(-1, -2))
            scaled = torch.einsum("bh,bhqk->bqk", importance / importance.sum(dim=1, keepdim=True), attention)
        product = product + scaled @ product
    return product


def feedback(subject: Subject, steps: int) -> Tensor:
    """The positive part of the integrated gradient of the last attention, over the heads: [B, N, N]."""
    total: Tensor | float = 0.0
    for fraction in torch.linspace(0, 1, steps, dtype=torch.float64):
        taken = run(subject.model, subject.images * fraction, False)
        chosen = taken.logits[range(len(subject.targets)), subject.targets].sum()
        total = total + torch.autograd.grad(chosen, taken.attention[-1])[0] / steps
    return torch.as_tensor(total).clamp(min=0).mean(dim=1)


def maps(subject: Subject) -> dict[str, Tensor]:
    last = len(subject.blocks) - 1
    gradients = {steps: feedback(subject, steps) for steps in (20, 3)}
    found = {
        "token": perception(subject, "token", 0) * gradients[20],
        "token.last": perception(subject, "token", last) * gradients[20],
        "token.steps3": perception(subject, "token", 0) * gradients[3],
        "head": perception(subject, "head", 0) * gradients[20],
        "head.last": perception(subject, "head", last) * gradients[20],
    }
    return {name: subject.row(matrix).float().contiguous() for name, matrix in found.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or ("vit-tiny-shapes", *ARCHIVES):
        subject = shipped() if name == "vit-tiny-shapes" else archived(name)
        subject = replace(subject, model=subject.model.double(), images=subject.images.double())
        tensors = maps(subject)
        print(name, {key: float(value.max()) for key, value in tensors.items()}, flush=True)
        save_reference(tensors, HERE / f"beyond-{name}.safetensors", {"note": subject.note, "source": "the definition"})
