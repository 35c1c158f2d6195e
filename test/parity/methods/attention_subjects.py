"""The models of the attention family's references, and what of them the formulas read."""

from __future__ import annotations

import json
import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent), str(ROOT / "models")]

import torchvision_operators  # noqa: F401  (must come before timm and torchvision)
import numpy as np
import safetensors
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from capture import run
from exports import EXPORTS, KINDS
from seeded_weights import seed_weights
from vit import VisionTransformer

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@dataclass
class Subject:
    model: nn.Module
    images: Tensor  # [B, 3, H, W]
    targets: list[int]  # one an image
    grid: tuple[int, int]
    prefix: int
    class_token: bool
    note: str

    @property
    def blocks(self) -> list[nn.Module]:
        return list(self.model.encoder.layers if hasattr(self.model, "encoder") else self.model.blocks)

    def patches(self, row: Tensor) -> Tensor:
        """[..., N] to [..., h, w]."""
        return row[..., self.prefix :].unflatten(-1, self.grid)

    def row(self, matrix: Tensor) -> Tensor:
        """What the classifier reads of [..., N, N], laid out as a map."""
        read = matrix[..., 0, :] if self.class_token else matrix[..., self.prefix :, :].mean(dim=-2)
        return self.patches(read)

    def classify(self, tokens: Tensor) -> Tensor:
        """Logits of a block's output [B, N, C], by the model's own norm and head."""
        if hasattr(self.model, "encoder"):
            return self.model.heads(self.model.encoder.ln(tokens)[:, 0])
        tokens = self.model.norm(tokens)
        if isinstance(self.model, VisionTransformer):
            return self.model.head(tokens[:, 0])
        logits = self.model.forward_head(tokens)
        return sum(logits) / len(logits) if isinstance(logits, tuple) else logits


def shipped() -> Subject:
    model = VisionTransformer(classes=12)
    model.load_state_dict(torch.jit.load(str(ROOT / "models/vit-tiny-shapes.pt")).state_dict())
    listed = json.loads((ROOT / "models/eval/index.json").read_text())[:2]
    pixels = [
        torch.from_numpy(np.array(Image.open(ROOT / "models/eval" / entry["file"]).convert("RGB"))) for entry in listed
    ]
    images = torch.stack([((p / 255 - MEAN) / STD).permute(2, 0, 1) for p in pixels])
    assert images.shape[-2:] == (224, 224)
    targets = [entry["objects"][0]["index"] for entry in listed]
    return Subject(
        model.eval().requires_grad_(False),
        images,
        targets,
        (14, 14),
        1,
        True,
        f"models/eval {', '.join(e['file'] for e in listed)}",
    )


def archived(name: str) -> Subject:
    """A small archive's model, by the seed that its own reference names, and that reference's input."""
    kind = KINDS[EXPORTS[name].kind]
    with safetensors.safe_open(HERE.parent / "references" / f"{name}.safetensors", "pt") as file:
        note, images, target, logits = (
            file.metadata()["note"],
            file.get_tensor("input"),
            int(file.get_tensor("target")),
            file.get_tensor("logits"),
        )
    model = seed_weights(kind.build(), int(re.search(r"weights from seed (\d+)", note)[1]))
    assert (run(model, images, False).logits - logits).abs().max() < 1e-5, name
    return Subject(model, images, [target] * len(images), kind.grid, kind.prefix, kind.class_token, note)


@dataclass
class Seen:
    """One run: [B, ...] of every block."""

    attention: list[Tensor]
    gradients: list[Tensor]  # of each image's own target logit with respect to attention
    value: list[Tensor]
    entered: list[Tensor]  # what enters a block, and its attention is added to
    mixed: list[Tensor]  # the sum, which norm2 reads
    left: list[Tensor]  # the block's output, in the autograd graph


def look(subject: Subject) -> Seen:
    entered, mixed, left = [], [], []
    handles = []
    for block in subject.blocks:
        second = block.ln_2 if hasattr(block, "ln_2") else block.norm2
        handles.append(block.register_forward_pre_hook(lambda _m, inputs: entered.append(inputs[0])))
        handles.append(second.register_forward_pre_hook(lambda _m, inputs: mixed.append(inputs[0])))
        handles.append(block.register_forward_hook(lambda _m, _i, output: left.append(output)))
    taken = run(subject.model, subject.images, False)
    for handle in handles:
        handle.remove()
    chosen = taken.logits[range(len(subject.targets)), subject.targets].sum()
    gradients = torch.autograd.grad(chosen, taken.attention, retain_graph=True)
    return Seen(taken.attention, list(gradients), taken.value, entered, mixed, left)


@contextmanager
def zeroed_value(token: int):
    """Attention in which one token's value is zero in all heads."""

    def attend(query, key, value, *_args, scale=None, **_kwargs):
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        value = value.clone()
        value[..., token, :] = 0
        return torch.softmax(query @ key.transpose(-2, -1) * scale, dim=-1) @ value

    with mock.patch.object(F, "scaled_dot_product_attention", attend):
        yield


def output_projection(block: nn.Module) -> nn.Linear:
    """W_o without its bias; a layer scale behind it is part of the map from values to the block."""
    dense = block.self_attention.out_proj if hasattr(block, "self_attention") else block.attn.proj
    weight = dense.weight
    if hasattr(getattr(block, "ls1", None), "gamma"):
        weight = weight * block.ls1.gamma[:, None]
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    linear.weight = nn.Parameter(weight, requires_grad=False)
    return linear


class DroppedAttention(nn.Module):
    """models/vit.py's attention written out with a dropout named `attn_drop`, as timm has it: vit-explain hooks
    that."""

    def __init__(self, attention: nn.Module):
        super().__init__()
        self.inner = attention
        self.attn_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, dim = x.shape
        qkv = self.inner.qkv(x).reshape(n, tokens, 3, self.inner.num_heads, self.inner.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        attention = self.attn_drop((q * self.inner.head_dim**-0.5 @ k.transpose(-2, -1)).softmax(dim=-1))
        return self.inner.proj((attention @ v).transpose(1, 2).reshape(n, tokens, dim))
