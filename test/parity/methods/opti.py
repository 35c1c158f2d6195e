"""Writes opti-MODEL.safetensors: maps of Opti-CAM by its definition, in float64.

Usage: python test/parity/methods/opti.py [MODEL...]

The layers, images and classes are those of score-MODEL.safetensors. Tensors, raw at the grid: `opti-cam` as the
authors' program has it, which masks pixels in [0, 1] before they are normalized; `opti-cam.SETTING` with other
settings. Left out is a map that float32 cannot tell: that in float64 moves by more than 2e-4 where each pixel is moved
by a millionth of its size.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import score_subjects as subjects
import torch
import torch.nn.functional as F
from reference_file import save_reference
from safetensors.torch import load_file
from score_subjects import MODELS, Subject
from torch import Tensor

HERE = Path(__file__).parent
SUBJECTS: dict[str, Callable[[], Subject]] = {
    "resnet-tiny-shapes": lambda: subjects.shipped("resnet-tiny-shapes", [2]),
    "vit-tiny-shapes": lambda: subjects.shipped("vit-tiny-shapes", [2, 5]),
    "torchvision-resnet-traced": lambda: subjects.small("torchvision-resnet-traced"),
    "torchvision-resnet-basic-scripted": lambda: subjects.small("torchvision-resnet-basic-scripted", 2, "layer3"),
    "timm-vit-fused-traced": lambda: subjects.small("timm-vit-fused-traced"),
    "timm-deit-distilled-traced": lambda: subjects.small("timm-deit-distilled-traced"),
    "timm-dinov2-registers-traced": lambda: subjects.small("timm-dinov2-registers-traced"),
    "timm-vit-average-traced": lambda: subjects.small("timm-vit-average-traced"),
    "timm-swin-traced": lambda: subjects.small("timm-swin-traced"),
}
SETTINGS = {
    "opti-cam": {},
    "opti-cam.one": {"steps": 1},
    "opti-cam.few": {"steps": 7},
    "opti-cam.slow": {"steps": 7, "rate": 0.01},
    "opti-cam.mean": {"steps": 7, "color": "mean"},
    "opti-cam.probability": {"steps": 7, "of": "probability"},
}


def normalization(name: str) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the pixels; of small archives, whose card changes nothing, 0 and 1."""
    card = MODELS / f"{name}.json"
    values = json.loads(card.read_text())["input"] if card.exists() else {"mean": [0] * 3, "std": [1] * 3}
    mean, deviation = (torch.tensor(values[key]).view(3, 1, 1).double() for key in ("mean", "std"))
    return mean, deviation


def nudged(image: Tensor, seed: int) -> Tensor:
    signs = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed)).sign()
    return image if seed == 0 else image * (1 + 1e-6 * signs)


def opti_cam(
    subject: Subject,
    image: Tensor,
    target: int,
    steps: int = 50,
    rate: float = 0.1,
    color: str = "black",
    of: str = "logit",
) -> Tensor:
    mean, deviation = normalization(subject.name)
    with torch.no_grad():
        activations = subject.reshape(subject.features(image[None]))[0].relu()
    weights = torch.full((len(activations),), 0.5, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([weights], lr=rate, maximize=True)

    def combined() -> Tensor:
        return torch.einsum("k,khw->hw", weights.softmax(0), activations)

    # 1e-8 has a flat map divide nothing by zero.
    def unit(values: Tensor) -> Tensor:
        return (values - values.min()) / (values.max() - values.min() + 1e-8)

    for _ in range(steps):
        mask = unit(F.interpolate(combined()[None, None], image.shape[1:], mode="bilinear", align_corners=False)[0, 0])
        hidden = mean if color == "mean" else torch.zeros_like(mean)
        pixels = mask * (image * deviation + mean) + (1 - mask) * hidden
        logits = subject.logits(((pixels - mean) / deviation)[None])[0]
        score = logits.softmax(0)[target] if of == "probability" else logits[target]
        adam.zero_grad()
        score.backward()
        adam.step()
    return unit(combined()).detach()


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or SUBJECTS:
        subject = SUBJECTS[name]()
        chosen = load_file(HERE / f"score-{name}.safetensors")["targets"].tolist()
        subject = replace(subject, model=subject.model.double(), images=subject.images.double())
        pairs = list(zip(subject.images, chosen, strict=True))
        tensors = {}
        for setting, options in SETTINGS.items():
            maps, *moved = (
                torch.stack([opti_cam(subject, nudged(image, seed), int(at), **options) for image, at in pairs])
                for seed in range(4 if options.get("steps", 50) > 7 else 1)
            )
            if all((maps - other).abs().max() <= 2e-4 for other in moved):
                tensors[setting] = maps.float()
        print(name, subject.layer, sorted(tensors), flush=True)
        save_reference(tensors, HERE / f"opti-{name}.safetensors", {"layer": subject.layer, "source": "the definition"})
