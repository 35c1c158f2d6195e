"""Draws the pictures that the Node tests and the demo use: models/eval and models/demo.

eval/: two-object images of the held-out seed with exact masks. index.json lists
{file, mask, objects: [{label, index}]}; pixel value v > 0 of a mask is objects[v - 1].
demo/: four larger pictures, objects in the models' scale once the shorter side is 224.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from evaluate import HELD_OUT
from shapes import LABELS, SIZE, Scene, sample, scene

HERE = Path(__file__).resolve().parent
# Numbered apart from what evaluate.py judges by, so that the tests' figures are a second opinion.
FIRST = 2 * 10**6
DEMOS = (
    ("disc-and-flower", ("striped disc", "rayed flower"), 3),
    ("square-and-oval", ("checkered square", "ringed oval"), 11),
    ("star-and-hexagon", ("wavy star", "speckled hexagon"), 4),
    ("triangle-dome-and-diamond", ("dotted triangle", "scaly dome", "zigzag diamond"), 7),
)


def _objects(s: Scene) -> list[dict]:
    return [{"label": LABELS[c], "index": c} for c in s.classes]


def _save(s: Scene, folder: Path, name: str) -> dict:
    values = np.zeros(s.image.shape[:2], np.uint8)
    for i, mask in enumerate(s.masks):
        values[mask] = i + 1
    Image.fromarray(s.image).save(folder / f"{name}.png", optimize=True)
    (folder / "masks").mkdir(exist_ok=True)
    Image.fromarray(values).save(folder / "masks" / f"{name}.png", optimize=True)
    return {"file": f"{name}.png", "mask": f"masks/{name}.png", "objects": _objects(s)}


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _index(folder: Path, entries: list[dict]) -> None:
    (folder / "index.json").write_text("[\n" + ",\n".join(json.dumps(e) for e in entries) + "\n]\n")


def draw_eval(folder: Path, count: int) -> None:
    _fresh(folder)
    _index(folder, [_save(sample(HELD_OUT, FIRST + i, 2), folder, f"{i:03d}") for i in range(count)])


def draw_demo(folder: Path, width: int = 480, height: int = 360) -> None:
    """The objects lie in the centre square, which is what the models see after the crop."""
    _fresh(folder)
    left = (width - height) / 2
    entries = []
    for name, labels, seed in DEMOS:
        rng = np.random.default_rng([HELD_OUT, 3 * 10**6, seed])
        classes = [LABELS.index(label) for label in labels]
        box = (left, 0, left + height, height)
        s = scene(rng, classes, width=width, height=height, scale=height / SIZE, box=box)
        entries.append(_save(s, folder, name))
    _index(folder, entries)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eval-images", type=int, default=56)
    args = parser.parse_args()
    draw_eval(HERE / "eval", args.eval_images)
    draw_demo(HERE / "demo")


if __name__ == "__main__":
    main()
