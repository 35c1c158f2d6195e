"""Writes poly-MODEL.safetensors: maps of Poly-CAM (PCAM+, PCAM- and PCAM±) by its definition, in float64.

Usage: python test/parity/methods/poly.py [MODEL...]

The images and classes are those of score-MODEL.safetensors. Tensors, raw at the grid of the finest layer: `poly-cam` of
both weights, `poly-cam.kept` and `poly-cam.removed`; `poly-cam.two` of the last two layers; `poly-cam.logit` with the
logit in place of the probability.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import score_subjects as subjects
import torch
import torch.nn.functional as F
from reference_file import save_reference
from safetensors.torch import load_file
from score_subjects import Subject
from torch import Tensor

HERE = Path(__file__).parent
# Each with its layers, from the last one backwards.
SUBJECTS: dict[str, tuple[Callable[[], Subject], Sequence[str]]] = {
    "resnet-tiny-shapes": (
        lambda: subjects.shipped("resnet-tiny-shapes", [2]),
        ("layer4", "layer3", "layer2", "layer1", "relu"),
    ),
    "torchvision-resnet-traced": (lambda: subjects.small("torchvision-resnet-traced"), ("layer4", "layer1", "relu")),
    "torchvision-resnet-basic-scripted": (
        lambda: subjects.small("torchvision-resnet-basic-scripted", 2, "layer3"),
        ("layer3", "layer2", "layer1", "relu"),
    ),
    "timm-swin-traced": (lambda: subjects.small("timm-swin-traced"), ("norm", "patch_embed")),
}


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """[C, h, w] to [C, *size]."""
    return F.interpolate(maps[None], tuple(size), mode="bilinear", align_corners=False)[0]


def layer_map(subject: Subject, image: Tensor, target: int, weights: str, of: str) -> Tensor:
    """A layer's map, [h, w], before it is joined to others."""

    def score(images: Tensor) -> Tensor:
        logits = subject.logits(images)
        return (logits.softmax(1) if of == "probability" else logits)[:, target]

    features = subject.reshape(subject.features(image[None]))[0]
    low, high = features.amin((1, 2), keepdim=True), features.amax((1, 2), keepdim=True)
    masks = resized((features - low) / (high - low + 1e-8), image.shape[1:])
    kept, removed = (
        torch.cat([score(mask[:, None] * image) for mask in part.split(32)]) for part in (masks, 1 - masks)
    )
    whole = score(image[None])
    weight = {"kept": kept, "removed": (whole - removed).relu(), "both": (kept + whole - removed).relu()}[weights]
    return torch.einsum("k,khw->hw", weight, features).relu()


@torch.no_grad()
def poly_cam(
    subject: Subject, layers: Sequence[str], image: Tensor, target: int, weights: str = "both", of: str = "probability"
) -> Tensor:
    joined: Tensor | None = None
    for layer in layers:
        at_layer = replace(subject, layer=layer)
        fine = layer_map(at_layer, image, target, weights, of)[None]
        if joined is not None:
            local = resized(resized(fine, joined.shape[1:]), fine.shape[1:])
            fine = torch.where(local > 0, fine / local, 0) * resized(joined, fine.shape[1:])
        joined = fine
    assert joined is not None
    return joined[0]


def maps(subject: Subject, layers: Sequence[str], targets: list[int]) -> dict[str, Tensor]:
    settings: dict[str, tuple[Sequence[str], dict[str, str]]] = {"poly-cam": (layers, {})}
    if not subject.files:
        settings |= {
            "poly-cam.kept": (layers, {"weights": "kept"}),
            "poly-cam.removed": (layers, {"weights": "removed"}),
            "poly-cam.two": (layers[:2], {}),
            "poly-cam.logit": (layers, {"of": "logit"}),
        }
    return {
        name: torch.stack(
            [poly_cam(subject, chosen, image, at, **options) for image, at in zip(subject.images, targets, strict=True)]
        ).float()
        for name, (chosen, options) in settings.items()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or SUBJECTS:
        make, layers = SUBJECTS[name]
        subject = make()
        targets = [int(target) for target in load_file(HERE / f"score-{name}.safetensors")["targets"].tolist()]
        subject = replace(subject, model=subject.model.double(), images=subject.images.double())
        tensors = maps(subject, layers, targets)
        print(name, {key: (list(value.shape), float(value.max())) for key, value in tensors.items()}, flush=True)
        save_reference(
            tensors, HERE / f"poly-{name}.safetensors", {"layers": " ".join(layers), "source": "the definition"}
        )
