"""Writes xrai-MODEL.safetensors: segments by scikit-image, regions ranked by PAIR, and maps of PAIR's XRAI.

Usage: python test/parity/methods/xrai.py [MODEL...]
needs: pip install saliency==0.2.1 scikit-image==0.26.0

Tensors, of crops of photos or of pictures of 224 x 224 pixels: `targets` [N]; `segments` and `segments.fine`
[N, scales, 32, 32], labels at every 7th pixel from the 3rd on, and `segments.count` [N, scales] of all; `ranking.NAME`
[N, 32, 32],
made of the picture's own colors in place of attributions; `xrai.NAME`, maps of the model, and `NAME.range`
[N, 2], their least and largest value.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent))

from gradients_models import ROOT, shipped

import numpy as np
import torch
from PIL import Image
from reference_file import save_reference
from saliency.core import xrai as peer
from safetensors.torch import load_file
from skimage.segmentation import felzenszwalb
from torch import nn

HERE = Path(__file__).parent
SIDE = 224
# File, left and upper edge of the crop, class.
PHOTOS = (("cat.jpg", 40, 20, 282), ("coffee.jpg", 180, 60, 967))
SCALES = [50, 100, 150, 250, 500, 1200]
STEPS = 6


class Subject:
    """A model of colors [N, 224, 224, 3] in [0, 1], as PAIR hands images over, with images and classes."""

    def __init__(self, model: nn.Module, mean: float, std: float, images: list[np.ndarray], targets: list[int]):
        self.model, self.mean, self.std, self.images, self.targets = model, mean, std, images, targets

    def gradients(self, images: np.ndarray, target: int) -> np.ndarray:
        x = torch.tensor(images, dtype=torch.float32, requires_grad=True)
        normalized = (x.permute(0, 3, 1, 2) - torch.tensor(self.mean).reshape(-1, 1, 1)) / torch.tensor(
            self.std
        ).reshape(-1, 1, 1)
        self.model(normalized)[:, target].sum().backward()
        return x.grad.numpy()


def lite() -> Subject:
    from efficientnet_lite import EfficientNetLite0

    model = EfficientNetLite0().eval()
    model.load_state_dict(load_file(ROOT / "models/efficientnet-lite0.safetensors"))
    images = []
    for file, left, top, _ in PHOTOS:
        photo = Image.open(ROOT / "models/demo/photos" / file).convert("RGB")
        images.append(np.asarray(photo.crop((left, top, left + SIDE, top + SIDE)), np.float32) / 255)
    return Subject(model, [127 / 255] * 3, [128 / 255] * 3, images, [target for *_, target in PHOTOS])


def shapes(name: str) -> Subject:
    import json

    explained = shipped(name)
    card = json.loads((ROOT / f"models/{name}.json").read_text())["input"]
    images = [
        np.asarray(Image.open(ROOT / "models/eval" / file).convert("RGB"), np.float32) / 255
        for file in ("000.png", "002.png")
    ]
    return Subject(explained.model, card["mean"], card["std"], images, explained.targets)


SUBJECTS: dict[str, Callable[[], Subject]] = {
    "efficientnet-lite0": lite,
    "vit-tiny-shapes": lambda: shapes("vit-tiny-shapes"),
    "resnet-tiny-shapes": lambda: shapes("resnet-tiny-shapes"),
}


def integrated(subject: Subject, image: np.ndarray, target: int) -> np.ndarray:
    """By Gauss-Legendre from black and from white, summed over the colors."""
    points, weights = np.polynomial.legendre.leggauss(STEPS)
    total = np.zeros_like(image)
    for baseline in (np.zeros_like(image), np.ones_like(image)):
        way = image - baseline
        steps = np.stack([baseline + (point + 1) / 2 * way for point in points])
        gradients = subject.gradients(steps, target)
        total += (gradients * (weights / 2)[:, None, None, None]).sum(0) * way / 2
    return total.sum(2)


def masks(image: np.ndarray, smallest: int, dilation: int = 5, scales: list[int] = SCALES) -> list[np.ndarray]:
    with (
        patch.object(peer, "_FELZENSZWALB_MIN_SEGMENT_SIZE", smallest),
        patch.object(peer, "_FELZENSZWALB_SCALE_VALUES", scales),
    ):
        return peer._get_segments_felzenszwalb(image, dilation_rad=dilation)


def labels(image: np.ndarray, smallest: int, scales: list[int]) -> np.ndarray:
    colors = peer._normalize_image(image, [-1.0, 1.0])
    return np.stack([felzenszwalb(colors, scale=scale, sigma=0.8, min_size=smallest) for scale in scales])


def ranked(attributions: np.ndarray, regions: list[np.ndarray], least: int, area: float, fast: bool) -> np.ndarray:
    rank = peer.XRAI._xrai_fast if fast else peer.XRAI._xrai
    return rank(attr=attributions, segs=regions, area_perc_th=area, min_pixel_diff=least)[0]


def by_peer(subject: Subject, image: np.ndarray, target: int) -> np.ndarray:
    """PAIR's class as it is."""

    def call(images: np.ndarray, call_model_args=None, expected_keys=None) -> dict:
        return {peer.IntegratedGradients().expected_keys[0]: subject.gradients(images, target)}

    parameters = peer.XRAIParameters(steps=STEPS)
    return peer.XRAI().GetMask(image, call, batch_size=STEPS, extra_parameters=parameters)


def tensors_of(subject: Subject) -> dict[str, torch.Tensor]:
    found: dict[str, list[np.ndarray]] = {}

    def keep(name: str, value: np.ndarray) -> None:
        found.setdefault(name, []).append(np.asarray(value, np.float32))

    def keep_map(name: str, value: np.ndarray) -> None:
        keep(name, value[3::7, 3::7])
        keep(f"{name}.range", [value.min(), value.max()])

    for image, target in zip(subject.images, subject.targets, strict=True):
        for name, smallest, scales in (("segments", 150, SCALES), ("segments.fine", 20, [10, 80])):
            all_labels = labels(image, smallest, scales)
            keep(name, all_labels[:, 3::7, 3::7])
            keep(f"{name}.count", all_labels.max((1, 2)) + 1)
        colors = image @ np.array([1, -0.5, -0.25], np.float32)
        keep_map("ranking.full", ranked(colors, masks(image, 150), 50, 1.0, False))
        keep_map("ranking.fast", ranked(colors, masks(image, 150), 50, 1.0, True))
        keep_map("ranking.part", ranked(colors, masks(image, 150, 2, [100, 500]), 1, 0.3, False))
        keep_map("xrai.fine", ranked(integrated(subject, image, target), masks(image, 20), 1, 1.0, False))
        keep_map("xrai.pair", by_peer(subject, image, target))
    tensors = {name: torch.from_numpy(np.stack(values)).contiguous() for name, values in found.items()}
    return tensors | {"targets": torch.tensor(subject.targets)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or SUBJECTS:
        tensors = tensors_of(SUBJECTS[name]())
        print(name, tensors["segments.count"].tolist(), flush=True)
        save_reference(tensors, HERE / f"xrai-{name}.safetensors", {"source": "saliency 0.2.1, scikit-image 0.26.0"})
