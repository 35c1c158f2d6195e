"""pytorch-grad-cam (the package grad-cam), by its README: one object, called with a batch and its targets."""

import numpy as np
import torch
from pytorch_grad_cam import EigenCAM, GradCAM, HiResCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from torch import Tensor

from peer import Job, Setting, peer


def _patches(tokens: Tensor) -> Tensor:
    """[N, 1 + 14 * 14, C] to [N, C, 14, 14], without the class token: the README's reshape_transform for such a ViT."""
    return tokens[:, 1:].unflatten(1, (14, 14)).permute(0, 3, 1, 2)


def _cam(method: type, setting: Setting) -> tuple:
    model = setting.model
    if hasattr(model, "blocks"):
        return model, method(model=model, target_layers=[model.blocks[-1].norm1], reshape_transform=_patches)
    return model, method(model=model, target_layers=[model.layer4[-1]])


def _job(method: type, setting: Setting) -> Job:
    model, cam = _cam(method, setting)

    def run() -> np.ndarray:
        return cam(input_tensor=setting.images, targets=[ClassifierOutputTarget(index) for index in setting.targets])

    def warm() -> None:
        with torch.no_grad():
            model(setting.images)

    return Job(run, lambda maps: maps, warm)


@peer("pytorch-grad-cam/grad-cam")
def grad_cam(setting: Setting) -> Job:
    return _job(GradCAM, setting)


@peer("pytorch-grad-cam/hirescam")
def hires_cam(setting: Setting) -> Job:
    return _job(HiResCAM, setting)


@peer("pytorch-grad-cam/score-cam")
def score_cam(setting: Setting) -> Job:
    return _job(ScoreCAM, setting)


@peer("pytorch-grad-cam/eigen-cam")
def eigen_cam(setting: Setting) -> Job:
    model, cam = _cam(EigenCAM, setting)

    def run() -> np.ndarray:
        return cam(input_tensor=setting.images, targets=[ClassifierOutputTarget(index) for index in setting.targets])

    def answer(_maps: np.ndarray) -> np.ndarray:
        # The package keeps the sign that LAPACK happens to give and cuts off what is negative, so its own map may be
        # the other half. Its projection is compared instead, with the largest magnitude made positive.
        projected = get_2d_projection(cam.activations_and_grads.activations[0].numpy())
        largest = np.take_along_axis(
            projected.reshape(len(projected), -1), np.abs(projected).reshape(len(projected), -1).argmax(1)[:, None], 1
        )
        return np.maximum(projected * np.sign(largest)[:, :, None], 0)

    return Job(run, answer)
