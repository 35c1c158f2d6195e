"""Writes the catalogue: one card for each pretrained model that `sightline pull NAME` knows.

    python models/catalogue.py            # writes models/catalogue/*.json; needs models/skeletons/*.json
    python models/skeletons.py --check    # compares them too

Repositories, licences and preprocessing come from timm's own record of each model (its default weights), those of DINOv2
from Facebook's repositories. Nothing is downloaded: a card has no SHA-256, `pull` verifies what it gets against the
hash that the hub announces.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from architectures import ARCHITECTURES
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
    Entry("convnext_tiny", "convnext_tiny", "ConvNeXt-T"),
    *(Entry(f"vit_{size}_patch16_224", f"vit_{size}_patch16", f"ViT-{_SIZES[size]}/16") for size in ("tiny", "small", "base", "large")),
    Entry("vit_base_patch32_224", "vit_base_patch32", "ViT-B/32"),
    *(Entry(f"deit_{size}_patch16_224", f"vit_{size}_patch16", f"DeiT-{_SIZES[size]}/16") for size in ("tiny", "small", "base")),
    *(
        Entry(f"deit_{size}_distilled_patch16_224", f"deit_{size}_distilled_patch16", f"DeiT-{_SIZES[size]}/16 distilled, with a distillation token")
        for size in ("tiny", "small", "base")
    ),
    Entry("dinov2_small", "dinov2_small", "DINOv2 ViT-S/14 with a linear head"),
    Entry("dinov2_base", "dinov2_base", "DINOv2 ViT-B/14 with a linear head"),
    Entry("dinov2_small_registers", "dinov2_small_registers", "DINOv2 ViT-S/14 with four registers and a linear head"),
    Entry("dinov2_base_registers", "dinov2_base_registers", "DINOv2 ViT-B/14 with four registers and a linear head"),
    Entry("swin_tiny_patch4_window7_224", "swin_tiny_patch4_window7", "Swin-T"),
    Entry("swin_base_patch4_window7_224", "swin_base_patch4_window7", "Swin-B"),
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
    return {
        "name": entry.name,
        "description": f"{entry.title}; {facts['trained']}",
        "architecture": entry.architecture,
        "weights": {
            "repository": facts["repository"],
            "file": "model.safetensors",
            "revision": facts["revision"],
            "bytes": _bytes(skeleton),
            "naming": "timm" if of_timm else "huggingface",
        },
        "parameters": skeleton["parameters"],
        "flops": skeleton["flops"],
        "input": facts["input"],
        "labels": "imagenet-1k",
        "source": facts["source"],
        "license": facts["license"],
        "targetLayer": skeleton["targetLayer"],
    }


def _bytes(skeleton: dict[str, Any]) -> int:
    """Of the checkpoint's tensors in float32, without the file's header."""
    statistics = sum(math.prod(shape) for name, shape in skeleton["tensors"].items() if name.rpartition(".")[2].startswith("running_"))
    counters = sum(name.endswith("num_batches_tracked") for name in skeleton["unused"])
    return 4 * (skeleton["parameters"] + statistics) + 8 * counters


_TRAINED = {
    "in1k": "on ImageNet-1k",
    "in12k_ft_in1k": "on ImageNet-12k, then ImageNet-1k",
    "in21k_ft_in1k": "on ImageNet-21k, then ImageNet-1k",
    "in22k_ft_in1k": "on ImageNet-22k, then ImageNet-1k",
}


def _from_timm(name: str) -> dict[str, Any]:
    import_torchvision()  # timm imports it
    from timm.models import get_pretrained_cfg

    record = get_pretrained_cfg(name).to_dict()
    _, height, width = record["input_size"]
    if record["crop_mode"] != "center" or record["num_classes"] != 1000:
        raise ValueError(f"{name}: a card cannot say {record['crop_mode']} or {record['num_classes']} classes")
    data = next(key for key in sorted(_TRAINED, key=len, reverse=True) if record["tag"].endswith(key))
    return {
        "repository": record["hf_hub_id"],
        "revision": "main",
        "trained": f"trained {_TRAINED[data]}, weights {record['tag']}",
        "source": f"timm {record['architecture']}.{record['tag']}",
        "license": {"apache-2.0": "Apache-2.0", "mit": "MIT"}[record["license"]],
        "input": _input(width, height, record["mean"], record["std"], math.floor(min(height, width) / record["crop_pct"]), record["interpolation"]),
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


def _input(width: int, height: int, mean: Any, std: Any, shorter: int, interpolation: str) -> dict[str, Any]:
    return {
        "width": width,
        "height": height,
        "mean": list(mean),
        "std": list(std),
        "resize": {"mode": "shorter-side", "size": shorter},
        "interpolation": interpolation,
        "crop": "center",
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
    return found + [f"{path} is no card of the catalogue" for path in sorted(FOLDER.iterdir()) if path.name not in known]


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    for entry in ENTRIES:
        (FOLDER / f"{entry.name}.json").write_text(card_text(make_card(entry)))
    print(f"{len(ENTRIES)} cards in {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
