"""torch-cam, by its README: an extractor hooked on the model, asked after each forward pass."""

import numpy as np
import torch
from torch import Tensor, nn
from torchcam.methods import CAM, GradCAM, ScoreCAM

from peer import Job, Setting, peer


def _grids(maps: list[Tensor]) -> np.ndarray:
    return maps[0].float().numpy()


@peer("torch-cam/cam")
def cam(setting: Setting) -> Job:
    extractor = CAM(setting.model, "layer4", "fc")

    def run() -> list[Tensor]:
        with torch.inference_mode():
            scores = setting.model(setting.images)
        return extractor(setting.targets, scores)

    return Job(run, _grids)


@peer("torch-cam/grad-cam")
def grad_cam(setting: Setting) -> Job:
    extractor = GradCAM(setting.model, "layer4")

    def run() -> list[Tensor]:
        scores = setting.model(setting.images)
        return extractor(setting.targets, scores)

    return Job(run, _grids)


@peer("torch-cam/score-cam")
def score_cam(setting: Setting) -> Job:
    extractor = ScoreCAM(setting.model, "layer4")

    def run() -> list[Tensor]:
        with torch.inference_mode():
            setting.model(setting.images)
            return extractor(class_idx=setting.targets)

    def warm() -> None:
        with torch.inference_mode():
            setting.model(setting.images)

    def answer(maps: list[Tensor]) -> np.ndarray:
        # To the images' size, at which the other Score-CAMs answer.
        return nn.functional.interpolate(maps[0][:, None], setting.images.shape[2:], mode="bilinear")[:, 0].numpy()

    return Job(run, answer, warm)
