"""Writes the catalogue: one card for each pretrained model that `sightline pull NAME` knows.

    python models/catalogue.py            # writes models/catalogue/*.json; needs models/skeletons/*.json
    python models/skeletons.py --check    # compares them too

Repositories, licences and preprocessing come from timm's own record of each model (its default weights), those of
DINOv2 from Facebook's repositories. Nothing is downloaded: a card has no SHA-256, `pull` verifies what it gets against
the hash that the hub announces.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from architectures import ARCHITECTURES
from flops import count_flops
from torchvision_import import import_torchvision

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "catalogue"
SKELETONS = HERE / "skeletons"


@dataclass(frozen=True)
class Entry:
    name: str
    architecture: str
    title: str


@dataclass(frozen=True)
class Dino:
    repository: str
    # Where the repository's safetensors lie: of the first two beside the main branch, in a commit of the hub's own
    # conversion.
    revision: str


_SIZES = {"tiny": "Ti", "small": "S", "base": "B", "large": "L"}

ENTRIES: tuple[Entry, ...] = (
    Entry("resnet18", "resnet18", "ResNet-18"),
    Entry("resnet34", "resnet34", "ResNet-34"),
    Entry("resnet50", "resnet50", "ResNet-50"),
    Entry("resnet101", "resnet101", "ResNet-101"),
    Entry("wide_resnet50_2", "wide_resnet50_2", "Wide ResNet-50-2"),
    Entry("resnext50_32x4d", "resnext50_32x4d", "ResNeXt-50 32x4d"),
    *(
        Entry(f"convnext_{size}", f"convnext_{size}", f"ConvNeXt-{_SIZES[size][0]}")
        for size in ("tiny", "small", "base", "large")
    ),
    Entry("convnextv2_tiny", "convnextv2_tiny", "ConvNeXt V2-T"),
    *(Entry(f"efficientnet_b{size}", f"efficientnet_b{size}", f"EfficientNet-B{size}") for size in range(5)),
    Entry("efficientnetv2_rw_s", "efficientnetv2_rw_s", "EfficientNetV2-S, as timm has it"),
    Entry("tf_efficientnetv2_s", "tf_efficientnetv2_s", "EfficientNetV2-S, Google's"),
    Entry("mobilenetv3_large_100", "mobilenetv3_large_100", "MobileNetV3-Large"),
    Entry("mobilenetv3_small_100", "mobilenetv3_small_100", "MobileNetV3-Small"),
    Entry("densenet121", "densenet121", "DenseNet-121"),
    Entry("vgg16", "vgg16", "VGG-16"),
    Entry("regnety_008", "regnety_008", "RegNetY-800MF"),
    Entry("regnety_040", "regnety_040", "RegNetY-4GF"),
    *(
        Entry(f"vit_{size}_patch16_224", f"vit_{size}_patch16", f"ViT-{_SIZES[size]}/16")
        for size in ("tiny", "small", "base", "large")
    ),
    Entry("vit_base_patch32_224", "vit_base_patch32", "ViT-B/32"),
    Entry("vit_base_patch8_224", "vit_base_patch8", "ViT-B/8"),
    *(
        Entry(f"vit_{size}_patch16_384", f"vit_{size}_patch16", f"ViT-{_SIZES[size]}/16 at 384 px")
        for size in ("tiny", "small", "base", "large")
    ),
    Entry("vit_base_patch32_384", "vit_base_patch32", "ViT-B/32 at 384 px"),
    Entry("vit_base_patch16_clip_224", "vit_base_patch16_clip", "CLIP ViT-B/16"),
    Entry("vit_base_patch32_clip_224", "vit_base_patch32_clip", "CLIP ViT-B/32"),
    Entry("vit_base_patch16_clip_384", "vit_base_patch16_clip", "CLIP ViT-B/16 at 384 px"),
    Entry("beit_base_patch16_224", "beit_base_patch16", "BEiT-B/16"),
    Entry("beitv2_base_patch16_224", "beit_base_patch16", "BEiT v2-B/16"),
    Entry("eva02_base_patch14_448", "eva02_base_patch14", "EVA-02-B/14 at 448 px"),
    *(
        Entry(f"deit_{size}_patch16_224", f"vit_{size}_patch16", f"DeiT-{_SIZES[size]}/16")
        for size in ("tiny", "small", "base")
    ),
    *(
        Entry(
            f"deit_{size}_distilled_patch16_224",
            f"deit_{size}_distilled_patch16",
            f"DeiT-{_SIZES[size]}/16 distilled, with a distillation token",
        )
        for size in ("tiny", "small", "base")
    ),
    *(
        Entry(f"deit3_{size}_patch16_{side}", f"deit3_{size}_patch16", f"DeiT III-{_SIZES[size]}/16{at}")
        for size in ("small", "base")
        for side, at in ((224, ""), (384, " at 384 px"))
    ),
    Entry("dinov2_small", "dinov2_small", "DINOv2 ViT-S/14 with a linear head"),
    Entry("dinov2_base", "dinov2_base", "DINOv2 ViT-B/14 with a linear head"),
    Entry("dinov2_small_registers", "dinov2_small_registers", "DINOv2 ViT-S/14 with four registers and a linear head"),
    Entry("dinov2_base_registers", "dinov2_base_registers", "DINOv2 ViT-B/14 with four registers and a linear head"),
    Entry("swin_tiny_patch4_window7_224", "swin_tiny_patch4_window7", "Swin-T"),
    Entry("swin_small_patch4_window7_224", "swin_small_patch4_window7", "Swin-S"),
    Entry("swin_base_patch4_window7_224", "swin_base_patch4_window7", "Swin-B"),
    Entry("swinv2_tiny_window8_256", "swinv2_tiny_window8", "Swin V2-T, windows of 8"),
    Entry("swinv2_tiny_window16_256", "swinv2_tiny_window16", "Swin V2-T, windows of 16"),
    Entry("maxvit_tiny_tf_224", "maxvit_tiny_tf", "MaxViT-T"),
    Entry("test_vit", "test_vit", "A very small ViT, for a first try"),
    Entry("test_resnet", "test_resnet", "A very small ResNet, for a first try"),
    Entry("test_convnext", "test_convnext", "A very small ConvNeXt, for a first try"),
)

DINO = {
    "dinov2_small": Dino("facebook/dinov2-small-imagenet1k-1-layer", "5c5a3ef71f6f59a19fe1417c26221bafc3615413"),
    "dinov2_base": Dino("facebook/dinov2-base-imagenet1k-1-layer", "e9c8455b1927ccb9d5ff7f272de31f230fac233f"),
    "dinov2_small_registers": Dino("facebook/dinov2-with-registers-small-imagenet1k-1-layer", "main"),
    "dinov2_base_registers": Dino("facebook/dinov2-with-registers-base-imagenet1k-1-layer", "main"),
}


def make_card(entry: Entry) -> dict[str, Any]:
    skeleton = json.loads((SKELETONS / f"{entry.architecture}.json").read_text())
    of_timm = ARCHITECTURES[entry.architecture].library == "timm"
    facts = _from_timm(entry.name) if of_timm else _from_facebook(entry.name)
    parameters, flops = _counts(entry, skeleton, facts["input"]["width"])
    return {
        "name": entry.name,
        "description": f"{entry.title}; {facts['trained']}",
        "architecture": entry.architecture,
        "weights": {
            "repository": facts["repository"],
            "file": "model.safetensors",
            "revision": facts["revision"],
            "bytes": _bytes(skeleton, parameters),
            "naming": "timm" if of_timm else "huggingface",
        },
        "parameters": parameters,
        "flops": flops,
        "input": facts["input"],
        "labels": "imagenet-1k",
        "source": facts["source"],
        "license": facts["license"],
        "targetLayer": skeleton["targetLayer"],
    }


def _counts(entry: Entry, skeleton: dict[str, Any], side: int) -> tuple[int, int]:
    """Parameters, and operations of an image of the card's size, which need not be the skeleton's usual one."""
    if side == skeleton["size"]:
        return skeleton["parameters"], skeleton["flops"]
    with torch.device("meta"):
        model = ARCHITECTURES[entry.architecture].build(size=side)
    return sum(tensor.numel() for tensor in model.parameters()), count_flops(model, side)


def _bytes(skeleton: dict[str, Any], parameters: int) -> int:
    """Of the checkpoint's tensors in float32, without the file's header."""
    statistics = sum(
        math.prod(shape)
        for name, shape in skeleton["tensors"].items()
        if name.rpartition(".")[2].startswith("running_")
    )
    counters = sum(name.endswith("num_batches_tracked") for name in skeleton["unused"])
    return 4 * (parameters + statistics) + 8 * counters


# What a tag ends in; the longest that does.
_TRAINED = {
    "in1k": "on ImageNet-1k",
    "in12k_ft_in1k": "on ImageNet-12k, then ImageNet-1k",
    "in21k_ft_in1k": "on ImageNet-21k, then ImageNet-1k",
    "in22k_ft_in1k": "on ImageNet-22k, then ImageNet-1k",
    "laion2b_ft_in12k_in1k": "on pictures and texts of LAION-2B, then ImageNet-12k, then ImageNet-1k",
    "fcmae_ft_in22k_in1k": "without labels, then on ImageNet-22k, then ImageNet-1k",
    "in22k_ft_in22k_in1k": "without labels on ImageNet-22k, then with them, then on ImageNet-1k",
    "in1k_ft_in22k_in1k": "without labels on ImageNet-1k, then on ImageNet-22k, then ImageNet-1k",
}


_LICENSES = {
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
}


def _from_timm(name: str) -> dict[str, Any]:
    import_torchvision()  # timm imports it
    from timm.models import get_pretrained_cfg

    record = get_pretrained_cfg(name).to_dict()
    _, height, width = record["input_size"]
    squashed = record["crop_mode"] == "squash"
    if record["crop_mode"] not in ("center", "squash") or record["num_classes"] != 1000:
        raise ValueError(f"{name}: a card cannot say {record['crop_mode']} or {record['num_classes']} classes")
    if squashed and record["crop_pct"] != 1:
        raise ValueError(f"{name}: a card of the catalogue crops nothing from squashed images")
    data = next(key for key in sorted(_TRAINED, key=len, reverse=True) if record["tag"].endswith(key))
    return {
        "repository": record["hf_hub_id"],
        "revision": "main",
        "trained": f"trained {_TRAINED[data]}, weights {record['tag']}",
        "source": f"timm {record['architecture']}.{record['tag']}",
        "license": _LICENSES[record["license"]],
        "input": _input(
            width,
            height,
            record["mean"],
            record["std"],
            math.floor(min(height, width) / record["crop_pct"]),
            record["interpolation"],
            squashed,
        ),
    }


def _from_facebook(name: str) -> dict[str, Any]:
    dino = DINO[name]
    return {
        "repository": dino.repository,
        "revision": dino.revision,
        "trained": "trained without labels on LVD-142M, its head on ImageNet-1k",
        "source": dino.repository,
        "license": "Apache-2.0",
        "input": _input(224, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 256, "bicubic"),
    }


def _input(
    width: int, height: int, mean: Any, std: Any, shorter: int, interpolation: str, squashed: bool = False
) -> dict[str, Any]:
    resize = {"mode": "exact", "size": [width, height]} if squashed else {"mode": "shorter-side", "size": shorter}
    return {
        "width": width,
        "height": height,
        "mean": list(mean),
        "std": list(std),
        "resize": resize,
        "interpolation": interpolation,
        "crop": "none" if squashed else "center",
    }


def card_text(card: dict[str, Any]) -> str:
    return json.dumps(card, indent=2) + "\n"


def differences() -> list[str]:
    """How the shipped cards differ from what timm and the skeletons say."""
    found: list[str] = []
    for entry in ENTRIES:
        path = FOLDER / f"{entry.name}.json"
        if not path.is_file():
            found.append(f"{path} is missing")
        elif path.read_text() != card_text(make_card(entry)):
            found.append(f"{path} differs from a fresh one")
    known = {f"{entry.name}.json" for entry in ENTRIES}
    return found + [
        f"{path} is no card of the catalogue" for path in sorted(FOLDER.iterdir()) if path.name not in known
    ]


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    for entry in ENTRIES:
        (FOLDER / f"{entry.name}.json").write_text(card_text(make_card(entry)))
    print(f"{len(ENTRIES)} cards in {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
