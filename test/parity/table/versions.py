"""Writes versions.json: the peers' versions, and the commits of those that are checkouts. Usage: python versions.py
CHECKOUTS [xplique=VERSION]"""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "grad-cam",
    "torchcam",
    "captum",
    "lxt",
    "zennit",
    "scikit-learn",
    "networkx",
    "scipy",
    "numpy",
)
CHECKOUTS = (
    "jacobgil+vit-explain",
    "hila-chefer+Transformer-Explainability",
    "hila-chefer+Transformer-MM-Explainability",
    "samiraabnar+attention_flow",
    "gorokoba560+norm-analysis-of-transformer",
    "hmohebbi+ValueZeroing",
    "idiap+fullgrad-saliency",
    "vaynexie+CausalX-ViT",
)

folder, *more = sys.argv[1:]
found = {name: version(name) for name in PACKAGES} | dict(each.split("=") for each in more)
for name in CHECKOUTS:
    head = subprocess.run(
        ["git", "-C", str(Path(folder) / name / "repo"), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    found[name.replace("+", "/")] = head
Path(__file__).with_name("versions.json").write_text(json.dumps({"peers": found}, indent=1) + "\n")
