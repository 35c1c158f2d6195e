"""Writes geometry.json: what torchvision's Resize and CenterCrop do to images of many sizes.

Run it with torchvision installed: python test/cards/geometry.py
"""

import json
import random
from pathlib import Path

import torch

# torchvision's compiled operators do not load beside a CPU-only torch; importing needs just their declarations.
operators = torch.library.Library("torchvision", "DEF")
operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from PIL import Image
from torchvision.transforms import functional as F

SIZES = [
    (500, 375),
    (375, 500),
    (224, 224),
    (256, 256),
    (333, 500),
    (500, 334),
    (1, 1),
    (1023, 767),
    (641, 427),
    (300, 1999),
    (257, 256),
    (255, 256),
]
RULES = [
    (256, 224, 224),
    (224, 224, 224),
    (232, 224, 224),
    (235, 224, 224),
    (249, 224, 224),
    (438, 384, 384),
    (255, 224, 192),
    (97, 64, 33),
]


def cut(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """The offsets that center_crop hands to crop."""
    seen = []
    original = F.crop
    F.crop = lambda img, top, left, h, w: seen.append((left, top)) or original(img, top, left, h, w)
    try:
        F.center_crop(Image.new("L", size), [height, width])
    finally:
        F.crop = original
    return seen[0]


def main() -> None:
    random.seed(1)
    sizes = SIZES + [(random.randint(20, 2000), random.randint(20, 2000)) for _ in range(40)]
    rows = []
    for size in sizes:
        for shorter, width, height in RULES:
            resized = F.resize(Image.new("L", size), [shorter]).size
            rows.append([*size, shorter, width, height, *resized, *cut(resized, width, height)])
    Path(__file__).with_name("geometry.json").write_text(json.dumps(rows, separators=(",", ":")))


if __name__ == "__main__":
    main()
