"""Exports torchvision's LR-ASPP by models/export.py, and explains it in float64.

    python test/methods/dense/segmenter.py OUT

writes OUT/lraspp.pt with its card, and OUT/expected.json: an image, the class that is the highest at most places, at
how many, the sum of its scores there, and the Grad-CAM map of that sum at `classifier.cbr`.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "models"))

from torchvision_import import import_torchvision

import_torchvision()

import torch
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

NAME, SEED, SIZE = "lraspp_mobilenet_v3_large", 3, 64


def main(out: Path) -> None:
    options = ["--library", "torchvision", "--model", NAME, "--seed", str(SEED), "--size", str(SIZE)]
    subprocess.run(
        [sys.executable, str(ROOT / "models" / "export.py"), *options, "--out", str(out / "lraspp.pt")], check=True
    )
    torch.manual_seed(SEED)
    model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None).eval().double()
    image = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(5)).double()
    kept = []
    model.classifier.cbr.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    scores = model(image)["out"][0]
    best = scores.argmax(0)
    index = int(best.flatten().bincount().argmax())
    region = best == index
    score = scores[index][region].sum()
    (gradient,) = torch.autograd.grad(score, kept)
    map_ = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1)[0].relu()
    expected = {
        "image": image.flatten().tolist(),
        "index": index,
        "places": int(region.sum()),
        "score": score.item(),
        "map": map_.flatten().tolist(),
    }
    (out / "expected.json").write_text(json.dumps(expected))


main(Path(sys.argv[1]))
