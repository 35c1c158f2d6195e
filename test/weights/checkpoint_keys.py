"""Writes checkpoint-keys.json: names and shapes of checkpoints with 7 classes as the libraries themselves write them.

python test/weights/checkpoint_keys.py
"""

import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "models"))

from architectures import ARCHITECTURES
from safetensors import safe_open
from seeded_checkpoints import write_checkpoint

CHECKPOINTS = {
    "huggingface": (
        "vit_tiny_patch16",
        "deit_tiny_distilled_patch16",
        "resnet18",
        "convnext_tiny",
        "swin_tiny_patch4_window7",
        "dinov2_small",
    ),
    "torchvision": ("resnet18", "vit_base_patch32", "convnext_tiny", "swin_tiny_patch4_window7"),
}

found = {}
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "checkpoint.safetensors"
    for naming, names in CHECKPOINTS.items():
        for name in names:
            write_checkpoint(ARCHITECTURES[name], naming, 1, 7, None, path)
            with safe_open(path, "pt") as file:
                found[f"{naming} {name}"] = {
                    key: [file.get_slice(key).get_dtype(), *file.get_slice(key).get_shape()] for key in file.keys()
                }
            print(naming, name, len(found[f"{naming} {name}"]))
lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in found.items())
(HERE / "checkpoint-keys.json").write_text("{\n" + lines + "\n}\n")
