"""The cards of the two bundled models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from shapes import LABELS, SIZE

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

DATA = (
    "models/shapes.py: 12 classes of textured shapes on cluttered grounds, drawn from a seed with exact masks, one to "
    "three objects an image (40 %, 40 %, 20 %); flipped, turned by quarters, channels permuted. Equal shares of the "
    "classes present as the target."
)
MASKS = {
    "resnet": "The masks were used in training: fc's logits at each cell of layer4 learn which class lies there.",
    "vit": (
        "The masks were used in training: linear heads (not shipped) on the normalised tokens of blocks.3 and blocks.5 "
        "learn which class lies in each patch, and the class token's attention in the last two blocks is drawn onto "
        "objects of any class. A random half of the patches was shown for the first 70 % of the steps. A "
        "second, short run (training.refined) saw "
        "all patches and learnt besides that the evidence for a class, as Grad-CAM reads it at blocks.5.norm1, lies on "
        "that class's object."
    ),
}
DESCRIPTION = {
    "resnet": (
        "A bottleneck ResNet with seven blocks for 12 classes of textured shapes: small enough to ship, real "
        "enough to explain."
    ),
    "vit": (
        "A pre-norm vision transformer, 6 blocks of 4 heads, 128 wide, for 12 classes of textured shapes: small "
        "enough to ship, real enough to explain."
    ),
}
LAYER = {"resnet": "layer4", "vit": "blocks.5.norm1"}


def write_card(kind: str, archive: Path, run: dict[str, Any], first: Path | None = None) -> Path:
    """Writes the card beside the archive; kind is 'resnet' or 'vit', run what the training was told and took.

    first: the archive that this run refined. Its own run is read from the card beside it, where there is one.
    """
    training = run
    if first is not None:
        card = first.with_suffix(".json")
        known = json.loads(card.read_text())["training"] if card.exists() else {}
        training = {k: v for k, v in known.items() if k not in ("data", "accuracy", "pointing")} | {"refined": run}
    card = {
        "name": archive.stem,
        "description": DESCRIPTION[kind],
        "archive": archive.name,
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "input": {
            "width": SIZE,
            "height": SIZE,
            "mean": list(MEAN),
            "std": list(STD),
            "resize": {"mode": "shorter-side", "size": SIZE},
            "interpolation": "bilinear",
            "crop": "center",
        },
        "labels": list(LABELS),
        "source": f"models/train.py --model {kind}",
        "license": "Apache-2.0",
        "targetLayer": LAYER[kind],
        "training": {"data": f"{DATA} {MASKS[kind]}", **training},
    }
    path = archive.with_suffix(".json")
    path.write_text(json.dumps(card, indent=2) + "\n")
    return path


def add_figures(path: Path, accuracy: dict[str, Any], pointing: dict[str, Any]) -> None:
    card = json.loads(path.read_text())
    card["training"] |= {"accuracy": accuracy, "pointing": pointing}
    path.write_text(json.dumps(card, indent=2) + "\n")
