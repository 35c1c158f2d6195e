"""Writes head-gradients-NAME.safetensors: maps of Grad-SAM and GMAR by their definitions, in float64.

Usage: python test/parity/methods/head_gradients.py [NAME...]

The models, images and classes are those of attention-NAME.safetensors; maps are [B, h, w], raw, on the model's grid.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from attention_subjects import HERE, Seen, Subject, archived, look, shipped
import torch
from reference_file import save_reference
from torch import Tensor

ARCHIVES = (
    "torchvision-vit-traced",
    "timm-vit-fused-traced",
    "timm-deit-distilled-traced",
    "timm-dinov2-registers-traced",
    "timm-vit-average-traced",
)


def grad_sam(seen: Seen) -> Tensor:
    """Barkan et al. 2021: attention times the positive part of its gradient, mean over all but the keys: [B, N]."""
    products = [
        attention.detach() * gradient.relu() for attention, gradient in zip(seen.attention, seen.gradients, strict=True)
    ]
    return torch.stack(products).mean(dim=(0, 2, 3))


def gmar(seen: Seen, order: int) -> Tensor:
    """Jo et al. 2025: rollout of attention whose heads weigh by their gradients' norms: [B, N, N]."""
    rollout = torch.eye(seen.attention[0].shape[-1], dtype=torch.float64)
    for attention, gradient in zip(seen.attention, seen.gradients, strict=True):
        norms = gradient.flatten(2).norm(p=order, dim=-1)
        weights = norms / norms.sum(dim=1, keepdim=True)
        joined = (weights[:, :, None, None] * attention.detach()).sum(dim=1)
        joined = joined + torch.eye(joined.shape[-1])
        rollout = joined / joined.sum(dim=-1, keepdim=True) @ rollout
    return rollout


def maps(subject: Subject) -> dict[str, Tensor]:
    seen = look(subject)
    return {
        "grad-sam": subject.patches(grad_sam(seen)),
        "gmar-l1": subject.row(gmar(seen, 1)),
        "gmar-l2": subject.row(gmar(seen, 2)),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or ("vit-tiny-shapes", *ARCHIVES):
        subject = shipped() if name == "vit-tiny-shapes" else archived(name)
        subject = replace(subject, model=subject.model.double(), images=subject.images.double())
        tensors = {key: value.float().contiguous() for key, value in maps(subject).items()}
        print(name, {key: float(value.max()) for key, value in tensors.items()}, flush=True)
        save_reference(
            tensors, HERE / f"head-gradients-{name}.safetensors", {"note": subject.note, "source": "the definitions"}
        )
