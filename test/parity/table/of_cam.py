"""The CAM family by pytorch-grad-cam, torch-cam, captum, xplique and FullGrad's authors: cam.py's own list."""

import cam
from subjects import Case
from torch import Tensor


def maps(case: Case, fullgrad: str, xplique: str) -> dict[str, Tensor]:
    found = cam.of_model(case.for_cam(), fullgrad, xplique)
    return {key: value for key, value in found.items() if "{" in key}
