"""The models and images that the CAM references are of, as eager modules."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PARITY = Path(__file__).parents[1]
MODELS = PARITY.parents[1] / "models"
sys.path[:0] = [str(PARITY), str(MODELS)]

import torchvision_operators  # noqa: F401  (must come before torchvision and timm)
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from exports import KINDS
from resnet import ResNet
from vit import VisionTransformer

PICTURES = (3, 5)  # on which no map of the shipped models is flat
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Subject:
    """One model with what is asked of it. Targets are one class per image."""

    name: str
    model: nn.Module
    images: Tensor
    targets: list[int]
    layers: tuple[str, ...]
    head: str | None  # the linear layer behind a mean over space
    reshape: Callable[[Tensor], Tensor] | None  # a layer's output to [B, C, h, w]; None where it is that
    is_cnn: bool


def grid_of(prefix: int, grid: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    return lambda tokens: tokens[:, prefix:].reshape(len(tokens), *grid, -1).permute(0, 3, 1, 2)


def channels_first(tokens: Tensor) -> Tensor:
    return tokens.permute(0, 3, 1, 2)


def shipped_images() -> tuple[Tensor, list[int]]:
    entries = json.loads((MODELS / "eval" / "index.json").read_text())
    pixels = [
        np.asarray(Image.open(MODELS / "eval" / entries[i]["file"]).convert("RGB"), np.float32) / 255 for i in PICTURES
    ]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    images = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    # The object that is asked for changes from picture to picture.
    return images.contiguous(), [entries[i]["objects"][n % 2]["index"] for n, i in enumerate(PICTURES)]


def shipped(
    name: str, build: Callable[[int], nn.Module], layers: tuple[str, ...], head: str | None, reshape, is_cnn: bool
) -> Subject:
    model = build(12)
    model.load_state_dict(torch.jit.load(str(MODELS / f"{name}.pt")).state_dict())
    for block in model.modules():
        # Both FullGrads pair biases, in the order of definition, with gradients, in that of execution; this ResNet runs
        # a block's shortcut first, so it is also defined first here. Nothing else depends on the order.
        if getattr(block, "downsample", None) is not None:
            block._modules = {"downsample": block._modules["downsample"]} | block._modules
    images, targets = shipped_images()
    return Subject(name, model.eval(), images, targets, layers, head, reshape, is_cnn)


def small(name: str, kind: str, layers: tuple[str, ...]) -> Subject:
    """An archive of test/parity, with the images and the target of its reference."""
    of = KINDS[kind]
    model = of.build()
    state = torch.jit.load(str(PARITY / "archives" / f"{name}.pt")).state_dict()
    # A trace also keeps the buffers that a module says not to keep.
    assert not model.load_state_dict(state, strict=False).missing_keys
    known = load_file(PARITY / "references" / f"{name}.safetensors")
    images = known["input"][:2]
    reshape = {"cnn": None, "tokens": grid_of(of.prefix, of.grid), "windows": channels_first}[of.form]
    return Subject(
        name, model.eval(), images, [int(known["target"])] * len(images), layers, of.head, reshape, of.form == "cnn"
    )


SUBJECTS: tuple[Callable[[], Subject], ...] = (
    lambda: shipped("resnet-tiny-shapes", ResNet, ("layer4", "layer3"), "fc", None, True),
    lambda: shipped(
        "vit-tiny-shapes", VisionTransformer, ("blocks.5.norm1", "blocks.3.norm1"), None, grid_of(1, (14, 14)), False
    ),
    lambda: small("torchvision-resnet-traced", "torchvision-resnet", ("layer4", "layer3")),
    lambda: small("timm-resnet-scripted", "timm-resnet", ("layer4",)),
    lambda: small("timm-swin-traced", "timm-swin", ("norm", "layers.1.blocks.1.norm1")),
    lambda: small("timm-deit-distilled-traced", "timm-deit-distilled", ("blocks.1.norm1",)),
    lambda: small("timm-dinov2-registers-traced", "timm-dinov2-registers", ("blocks.2.norm1",)),
    lambda: small("timm-vit-average-traced", "timm-vit-average", ("blocks.1.norm1",)),
)
