"""Each peer's own code, giving maps at the layer's grid, before it scales or resizes them."""

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import numpy as np
import pytorch_grad_cam
import torch
import torchcam.methods
from captum.attr import LayerGradCam
from pytorch_grad_cam import (
    base_cam,
    eigen_cam,
    eigen_grad_cam,
    finer_cam,
    grad_cam_elementwise,
    hirescam,
    layer_cam,
)
from pytorch_grad_cam.utils.model_targets import ClassifierOutputReST, ClassifierOutputTarget
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection_with_sign_correction
from torch import Tensor

from cam_models import Subject

PROJECTING = (base_cam, eigen_cam, eigen_grad_cam, grad_cam_elementwise, hirescam, layer_cam)
TARGETS = {"logit": ClassifierOutputTarget, "rest": ClassifierOutputReST}


def unscaled(maps, target_size=None):
    """In place of pytorch-grad-cam's scaling to [0, 1] and to the image."""
    return np.float32(maps)


def by_pytorch_grad_cam(
    cls: str, subject: Subject, layer: str, *, target: str = "logit", eigen: bool = False, **kwargs
) -> Tensor:
    """The map after its ReLU. LAPACK chooses a component's sign; here the package's own rule for signs does."""
    model = subject.model.requires_grad_(True)
    targets = [TARGETS[target](category) for category in subject.targets]
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(base_cam, "scale_cam_image", unscaled))
        for module in PROJECTING:
            stack.enter_context(mock.patch.object(module, "get_2d_projection", get_2d_projection_with_sign_correction))
        peer = getattr(pytorch_grad_cam, cls)(
            model, [model.get_submodule(layer)], reshape_transform=subject.reshape, **kwargs
        )
        with peer:
            return torch.from_numpy(peer(subject.images, targets, eigen_smooth=eigen))


def random_by_pytorch_grad_cam(subject: Subject, layer: str, seed: int) -> Tensor:
    """Its Random-CAM, fed with the uniform numbers that sightline draws."""

    def uniform(low, high, size):
        numbers = torch.rand(size[1], generator=torch.Generator().manual_seed(seed * 1000003))
        return np.tile(low + (high - low) * numbers.numpy(), (size[0], 1))

    with mock.patch.object(np.random, "uniform", uniform):
        return by_pytorch_grad_cam("RandomCAM", subject, layer)


def finer_by_pytorch_grad_cam(subject: Subject, layer: str, base: str = "GradCAM") -> Tensor:
    """One image at a time: its `target_idx` is one class for the whole batch."""
    maps = []
    for image, target in zip(subject.images, subject.targets):
        with mock.patch.object(base_cam, "scale_cam_image", unscaled):
            model = subject.model.requires_grad_(True)
            with finer_cam.FinerCAM(
                model, [model.get_submodule(layer)], subject.reshape, getattr(pytorch_grad_cam, base)
            ) as peer:
                maps.append(torch.from_numpy(peer(image[None], target_idx=target))[0])
    return torch.stack(maps)


def full_grad_by_pytorch_grad_cam(subject: Subject) -> Tensor:
    """[B, H, W], scaled to [0, 1]: its scaling is part of the method."""
    model = subject.model.requires_grad_(True)
    with pytorch_grad_cam.FullGrad(model, []) as peer:
        return torch.from_numpy(
            peer(subject.images, [ClassifierOutputTarget(category) for category in subject.targets])
        )


def full_grad_by_authors(subject: Subject, folder: str) -> Tensor:
    """[B, H, W] by the code of idiap/fullgrad-saliency, checked out at `folder`."""
    if folder not in sys.path:
        sys.path.insert(0, folder)
    from saliency.fullgrad import FullGrad

    model = subject.model.requires_grad_(True)
    # Its own check of completeness compares with whichever class leads; ours is a test of the figure.
    with mock.patch.object(FullGrad, "checkCompleteness"):
        peer = FullGrad(model, tuple(subject.images.shape[1:]))
        maps = [
            peer.saliency(image[None].clone(), torch.tensor([[target]])).detach()[0, 0]
            for image, target in zip(subject.images, subject.targets)
        ]
    for handle in peer.model_ext.grad_handles:
        handle.remove()
    return torch.stack(maps)


def by_torch_cam(cls: str, subject: Subject, layer: str, **kwargs) -> Tensor:
    model = subject.model.requires_grad_(True)
    with getattr(torchcam.methods, cls)(model, layer, reshape_transform=subject.reshape, **kwargs) as peer:
        scores = model(subject.images)
        return peer(subject.targets, scores, normalized=False)[0].detach()


def finer_by_torch_cam(subject: Subject, layer: str, base: str = "GradCAM", **kwargs) -> Tensor:
    return by_torch_cam("FinerCAM", subject, layer, base_method=getattr(torchcam.methods, base), **kwargs)


def cam_by_torch_cam(subject: Subject, layer: str) -> Tensor:
    with (
        torchcam.methods.CAM(subject.model, layer, subject.head, reshape_transform=subject.reshape) as peer,
        torch.no_grad(),
    ):
        subject.model(subject.images)
        return peer(subject.targets, normalized=False)[0]


def by_captum(subject: Subject, layer: str) -> Tensor:
    model = subject.model.requires_grad_(True)
    return LayerGradCam(model, model.get_submodule(layer)).attribute(subject.images, subject.targets)[:, 0].detach()


def reading(subject: Subject, layer: str) -> tuple[Tensor, Tensor]:
    """A layer's activations and gradients [B, C, h, w]."""
    model = subject.model.requires_grad_(True)
    kept: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    logits = model(subject.images)
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[range(len(logits)), subject.targets].sum(), kept[0])
    reshape = subject.reshape or (lambda tensor: tensor)
    return reshape(kept[0]).detach(), reshape(gradient)


def by_xplique(python: str, activations: Tensor, gradients: Tensor) -> dict[str, Tensor]:
    """grad-cam++ and fem by xplique, which is TensorFlow's and so runs under an interpreter of its own."""
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
        np.savez(
            given, activations=activations.permute(0, 2, 3, 1).numpy(), gradients=gradients.permute(0, 2, 3, 1).numpy()
        )
        subprocess.run([python, str(Path(__file__).with_name("cam_xplique.py")), str(given), str(found)], check=True)
        with np.load(found) as maps:
            return {name: torch.from_numpy(maps[name]) for name in maps.files}
