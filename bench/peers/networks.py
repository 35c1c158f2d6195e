"""The three networks of the benchmark: how each is built, and where its parts lie. Python's side builds from here
and loads the state dict that `make_models.py` wrote beside the archive, so that both sides hold the same weights.
Beside them two of the models that sightline ships."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torchvision_operators  # noqa: F401  (must come before torchvision and timm)
import timm
import torch
import torchvision
from torch import nn


@dataclass(frozen=True)
class Network:
    """One architecture at 224 x 224 with 1000 classes."""

    name: str

    def build(self) -> nn.Module:
        if self.name == "resnet50":
            return torchvision.models.resnet50()
        if self.name == "vit_b_16":
            return torchvision.models.vit_b_16()
        if self.name == "timm_vit_b_16":
            # dynamic_img_size is off by default; said here because a trace with it on holds another graph.
            return timm.create_model("vit_base_patch16_224", dynamic_img_size=False)
        raise ValueError(f"there is no network {self.name}")

    def archive(self, folder: Path) -> Path:
        return folder / f"{self.name}.pt"

    def state(self, folder: Path) -> Path:
        return folder / f"{self.name}.state.pt"

    def load(self, folder: Path) -> nn.Module:
        """The eager model with the archive's weights, in eval mode."""
        model = self.build()
        model.load_state_dict(torch.load(self.state(folder), weights_only=True))
        return model.eval()


NETWORKS = {name: Network(name) for name in ("resnet50", "vit_b_16", "timm_vit_b_16")}


@dataclass(frozen=True)
class Bundled:
    """A model of models/, with the weights that ship."""

    name: str

    def load(self, folder: Path) -> nn.Module:
        sys.path.insert(0, str(folder))
        if self.name == "vit-tiny-shapes":
            from vit import VisionTransformer

            weights = torch.jit.load(folder / f"{self.name}.pt").state_dict()
            model = VisionTransformer(len(weights["head.bias"]))
            model.load_state_dict(weights)
        else:
            from efficientnet_lite import EfficientNetLite0
            from safetensors.torch import load_file

            model = EfficientNetLite0()
            # The counters of batch norms are not shipped.
            model.load_state_dict(load_file(folder / f"{self.name}.safetensors"), strict=False)
        return model.eval()


BUNDLED = {name: Bundled(name) for name in ("vit-tiny-shapes", "efficientnet-lite0")}
