"""Compares timm's definitions that share a skeleton, or that a skeleton names as alike.

python test/skeletons/alike.py CARD=ARCHITECTURE [CARD=ARCHITECTURE ...]

Prints one JSON object. `same`: for each card, whether timm's model of its name is that of its architecture, module for
module with all that these print. `alike`: for each skeleton that names others, whether these have its names and
shapes, and differ in a module.
"""

import json
import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models"))

import torch
from architectures import ALIKE, ARCHITECTURES
from torchvision_import import import_torchvision

import_torchvision()
import timm

POSITIONS = "pos_embed"  # as long as the image is large


@cache
def read(name: str) -> tuple[dict[str, tuple[int, ...]], str]:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=1000)
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items() if key != POSITIONS}
    return shapes, str(model)


same, alike = {}, {}
for pair in sys.argv[1:]:
    card, _, architecture = pair.partition("=")
    same[card] = read(card) == read(ARCHITECTURES[architecture].model)
for architecture, others in ALIKE.items():
    shapes, modules = read(ARCHITECTURES[architecture].model)
    for other in others:
        other_shapes, other_modules = read(other)
        alike[f"{architecture} {other}"] = [shapes == other_shapes, modules != other_modules]
print(json.dumps({"same": same, "alike": alike}))
