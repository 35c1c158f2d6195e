"""Models that the Score-CAM family's references are made on: the shipped ones, and small archives of test/parity."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PARITY = Path(__file__).parents[1]
MODELS = Path(__file__).parents[3] / "models"
sys.path[:0] = [str(PARITY), str(MODELS)]

import torchvision_operators  # noqa: F401  (must come before whatever imports torchvision)
import numpy as np
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor, nn

from exports import EXPORTS, KINDS, Kind
from resnet import ResNet
from vit import VisionTransformer


@dataclass(frozen=True)
class Subject:
    """A model, the layer that is explained, and images [N, 3, H, W] with one class each."""

    name: str
    model: nn.Module
    layer: str
    form: str  # 'cnn', 'tokens' or 'windows', as in exports.py
    reshape: Callable[[Tensor], Tensor]  # the layer's output as [N, C, h, w]
    images: Tensor
    targets: list[int]
    files: list[str]  # of models/eval; empty where images are those of the archive's reference

    @property
    def module(self) -> nn.Module:
        return self.model.get_submodule(self.layer)

    def features(self, images: Tensor) -> Tensor:
        """The layer's own output, in its own layout."""
        return self.run(images)[0]

    def logits(self, images: Tensor) -> Tensor:
        return self.run(images)[1]

    def run(self, images: Tensor) -> tuple[Tensor, Tensor]:
        seen: list[Tensor] = []
        handle = self.module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        try:
            logits = self.model(images)
        finally:
            handle.remove()
        return seen[0], logits

    def resumed(self, image: Tensor, features: Tensor) -> Tensor:
        """Logits of the model run on the image with the layer's output replaced: [replacements, classes]."""
        handle = self.module.register_forward_hook(lambda _module, _inputs, _output: features)
        try:
            return self.model(image.expand(len(features), -1, -1, -1))
        finally:
            handle.remove()


def reshape_of(form: str, prefix: int, grid: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    if form == "cnn":
        return lambda x: x
    if form == "windows":
        return lambda x: x.permute(0, 3, 1, 2)
    return lambda x: x[:, prefix:].unflatten(1, grid).permute(0, 3, 1, 2)


def small(name: str, images: int = 2, layer: str | None = None, grid: tuple[int, int] | None = None) -> Subject:
    kind: Kind = KINDS[EXPORTS[name].kind]
    model = kind.build().eval()
    # Archives hold buffers that the library's own state does not; the reference's logits tell that nothing else
    # differs.
    loaded = model.load_state_dict(torch.jit.load(str(PARITY / "archives" / f"{name}.pt")).state_dict(), strict=False)
    assert not loaded.missing_keys, (name, loaded.missing_keys)
    reference = safetensors.torch.load_file(PARITY / "references" / f"{name}.safetensors")
    assert torch.allclose(model(reference["input"]), reference["logits"], atol=1e-5), name
    target = int(reference["target"])
    return Subject(
        name,
        model,
        layer or kind.last,
        kind.form,
        reshape_of(kind.form, kind.prefix, grid or kind.grid),
        reference["input"][:images].clone(),
        [target] * images,
        [],
    )


def shipped(name: str, pictures: list[int]) -> Subject:
    card = json.loads((MODELS / f"{name}.json").read_text())
    model = (ResNet if name.startswith("resnet") else VisionTransformer)(classes=len(card["labels"])).eval()
    model.load_state_dict(torch.jit.load(str(MODELS / f"{name}.pt")).state_dict())
    index = json.loads((MODELS / "eval" / "index.json").read_text())
    chosen = [index[i] for i in pictures]
    mean, std = (torch.tensor(card["input"][key]).view(3, 1, 1) for key in ("mean", "std"))
    pixels = [
        torch.from_numpy(np.asarray(Image.open(MODELS / "eval" / entry["file"]).convert("RGB")).copy())
        for entry in chosen
    ]
    images = torch.stack([(p.permute(2, 0, 1) / 255 - mean) / std for p in pixels])
    form = "cnn" if name.startswith("resnet") else "tokens"
    return Subject(
        name,
        model,
        card["targetLayer"],
        form,
        reshape_of(form, 1, (14, 14)),
        images,
        [entry["objects"][0]["index"] for entry in chosen],
        [entry["file"] for entry in chosen],
    )
