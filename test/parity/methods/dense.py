"""Writes the models of test/methods/dense and their references: maps of masks by pytorch-grad-cam's own
SemanticSegmentationTarget, and by their formula in float64 what it has no code for.

Usage: python test/parity/methods/dense.py
needs: pip install grad-cam==1.5.5

`dense-masks.pt` is a segmenter of five classes in the form of torchvision's (a dict with `out`, as large as the image),
`dense-detector.pt` one in the form of YOLO's exports, [N, 4 + classes, boxes]. `dense-masks.safetensors` has the
segmenter's images, the two `classes` that are the highest at most places of each and, for each image, class and one of
two regions (those places, and REGION), in this order: `score`, the peer's score, `METHOD`, its map of `body.4`, raw at
the grid, and `gradient`, the largest magnitude over the channels, [height, width] of the image, in float64.
"""

import sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[3] / "models"))

from torchvision_import import import_torchvision

import_torchvision()

import numpy as np
import torch
from dense_nets import Detector, Segmenter
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM, base_cam
from pytorch_grad_cam.utils.model_targets import SemanticSegmentationTarget
from reference_file import save_reference
from seeded_weights import seed_weights
from torch import Tensor, nn

HERE = Path(__file__).parent
SIZE = (24, 32)
# A rectangle of the image, as left, top, width and height.
REGION = (5, 3, 11, 8)
PEERS = {
    "grad-cam": GradCAM,
    "hires-cam": HiResCAM,
    "layer-cam": LayerCAM,
    "xgrad-cam": XGradCAM,
    "grad-cam++": GradCAMPlusPlus,
}


class Out(nn.Module):
    """What the peer wants: the tensor itself."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)["out"]


def regions(scores: Tensor, index: int) -> dict[str, Tensor]:
    """The default one, and a rectangle: [height, width] each."""
    left, top, width, height = REGION
    rectangle = torch.zeros(SIZE)
    rectangle[top : top + height, left : left + width] = 1
    return {"own": (scores.argmax(0) == index).float(), "said": rectangle}


def unscaled(maps, target_size=None):
    """In place of pytorch-grad-cam's scaling to [0, 1] and to the image."""
    return np.float32(maps)


def raw_map(peer_class: type, model: nn.Module, image: Tensor, target: SemanticSegmentationTarget) -> Tensor:
    with mock.patch.object(base_cam, "scale_cam_image", unscaled), peer_class(model, [model.model.body[4]]) as peer:
        return torch.from_numpy(peer(image[None], [target]))[0]


def main() -> None:
    torch.set_num_threads(1)
    masks = seed_weights(Segmenter(), 41).eval()
    images = 2 * torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(43))
    torch.jit.script(masks).save(str(HERE / "dense-masks.pt"))
    detector = seed_weights(Detector(), 42).eval()
    torch.jit.trace(detector, torch.zeros(2, 3, 16, 16)).save(str(HERE / "dense-detector.pt"))

    tensors: dict[str, list[Tensor]] = {}
    wrapped, exact = Out(masks).requires_grad_(True), Out(seed_weights(Segmenter(), 41).eval()).double()
    for image in images:
        scores = wrapped(image[None])[0].detach()
        counts = scores.argmax(0).flatten().bincount(minlength=5)
        assert counts.count_nonzero() > 1
        chosen = counts.argsort(descending=True)[:2].tolist()
        tensors.setdefault("classes", []).append(torch.tensor(chosen).float())
        for index in chosen:
            for region in regions(scores, index).values():
                target = SemanticSegmentationTarget(index, region.numpy())
                tensors.setdefault("score", []).append(target(scores))
                for name, peer in PEERS.items():
                    tensors.setdefault(name, []).append(raw_map(peer, wrapped, image, target))
                leaf = image.double().clone().requires_grad_()
                (exact(leaf[None])[0, index] * region).sum().backward()
                tensors.setdefault("gradient", []).append(leaf.grad.abs().amax(0).float())
    save_reference(
        {"images": images, **{name: torch.stack(values).contiguous() for name, values in tensors.items()}},
        HERE / "dense-masks.safetensors",
        {"source": "grad-cam 1.5.5", "layer": "body.4"},
    )
    print({name: tuple(values[0].shape) for name, values in tensors.items()})


if __name__ == "__main__":
    main()
