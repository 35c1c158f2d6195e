"""The six models of the parity table, with the images and classes that every peer is asked about."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

PARITY = Path(__file__).parents[1]
sys.path[:0] = [str(PARITY), str(PARITY / "methods")]

import cam_models
import attention_subjects
import gradients_models
import numpy as np
import score_subjects
import timm
import torch
import torchvision
from PIL import Image
from seeded_weights import seed_weights
from torch import Tensor, nn

SIDE, GRID = 224, (14, 14)
MEAN, STD = torch.tensor(cam_models.MEAN), torch.tensor(cam_models.STD)


@dataclass(frozen=True)
class Case:
    """One model as an eager module, images [N, 3, 224, 224] and one class per image."""

    name: str
    model: nn.Module
    images: Tensor
    targets: list[int]
    form: str  # 'cnn', 'tokens' or 'windows', as in exports.py
    layer: str  # the last layer with space
    head: str | None  # the linear layer behind a mean over space
    narrow: str  # a layer with few channels, for methods that run the model once a channel
    is_full_size: bool

    @property
    def reshape(self) -> Callable[[Tensor], Tensor] | None:
        return {"cnn": None, "tokens": cam_models.grid_of(1, GRID), "windows": cam_models.channels_first}[self.form]

    def for_cam(self) -> cam_models.Subject:
        return cam_models.Subject(
            self.name, self.model, self.images, self.targets, (self.layer,), self.head, self.reshape, self.form == "cnn"
        )

    def for_attention(self) -> attention_subjects.Subject:
        return attention_subjects.Subject(self.model, self.images, self.targets, GRID, 1, True, self.name)

    def for_score(self, layer: str) -> score_subjects.Subject:
        return score_subjects.Subject(
            self.name,
            self.model.requires_grad_(True),
            layer,
            self.form,
            score_subjects.reshape_of(self.form, 1, GRID),
            self.images,
            self.targets,
            [],
        )

    def for_gradients(self) -> gradients_models.Explained:
        return gradients_models.Explained(self.model.requires_grad_(True), self.images, self.targets)

    def first_image(self) -> "Case":
        """For methods that run the model often."""
        return replace(self, images=self.images[:1], targets=self.targets[:1])

    def double(self) -> "Case":
        return replace(self, model=self.model.double(), images=self.images.double())


def picture() -> Tensor:
    """A picture of the repository, as the shipped models' card prepares it."""
    image = Image.open(cam_models.MODELS / "eval" / "003.png").convert("RGB")
    assert image.size == (SIDE, SIDE)
    return ((torch.from_numpy(np.array(image)).float() / 255 - MEAN) / STD).permute(2, 0, 1)[None].contiguous()


def seeded(
    name: str, build: Callable[[], nn.Module], seed: int, form: str, layer: str, head: str | None, narrow: str
) -> Case:
    model = seed_weights(build(), seed)
    images = picture()
    with torch.no_grad():
        logits = model(images)[0]
        if head == "fc":
            # 16 residual sums of unnormalised branches take logits to thousands, where a softmax is one-hot.
            for parameter in model.fc.parameters():
                parameter.mul_(2 / logits.std())
        ranked = model(images)[0].argsort(descending=True).tolist()
    case = Case(name, model, images, [ranked[0]], form, layer, head, narrow, True)
    for target in ranked:  # random weights can speak for a class nowhere in the image
        case = replace(case, targets=[target])
        if has_evidence(case):
            return case
    raise AssertionError(f"{name}: Grad-CAM is flat for every class")


def has_evidence(case: Case) -> bool:
    """Whether Grad-CAM is positive in at least a tenth of all places."""
    import cam_peers

    activations, gradients = cam_peers.reading(case.for_cam(), case.layer)
    case.model.requires_grad_(False)
    return ((gradients.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1) > 0).float().mean().item() > 0.1


def shipped(index: int, form: str, narrow: str) -> Case:
    of = cam_models.SUBJECTS[index]()
    return Case(
        of.name, of.model.requires_grad_(False), of.images, of.targets, form, of.layers[0], of.head, narrow, False
    )


LAST = "blocks.11.norm1"
CASES: dict[str, Callable[[], Case]] = {
    "resnet50": lambda: seeded("resnet50", torchvision.models.resnet50, 50, "cnn", "layer4", "fc", "layer1"),
    "vit_base_patch16_224": lambda: seeded(
        "vit_base_patch16_224", lambda: timm.create_model("vit_base_patch16_224"), 16, "tokens", LAST, None, LAST
    ),
    "deit_tiny_patch16_224": lambda: seeded(
        "deit_tiny_patch16_224", lambda: timm.create_model("deit_tiny_patch16_224"), 17, "tokens", LAST, None, LAST
    ),
    "swin_tiny_patch4_window7_224": lambda: seeded(
        "swin_tiny_patch4_window7_224",
        lambda: timm.create_model("swin_tiny_patch4_window7_224"),
        18,
        "windows",
        "norm",
        "head.fc",
        "layers.0.blocks.1.norm1",
    ),
    "resnet-tiny-shapes": lambda: shipped(0, "cnn", "layer1"),
    "vit-tiny-shapes": lambda: shipped(1, "tokens", "blocks.5.norm1"),
}
