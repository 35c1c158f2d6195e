"""What peers give in float32, by their formulas in float64 (xplique and PAIR's saliency know float32 only): which side
of a ReLU's kink is right."""

from collections.abc import Iterable

import torch
from found import Found
from gradients_noise import normal
from of_gradients import by_installed, by_xplique
from subjects import Case
from torch import Tensor


def gradient(case: Case, images: Tensor) -> Tensor:
    images = images.detach().requires_grad_(True)
    logits = case.model(images)
    return torch.autograd.grad(logits[range(len(logits)), case.targets].sum(), images)[0].detach()


def along_path(case: Case, steps: int, weights: Iterable[float]) -> Tensor:
    return case.images * sum(
        weight * gradient(case, case.images * (i / (steps - 1))) for i, weight in enumerate(weights)
    )


def noisy(case: Case, samples: int, deviation: float) -> Tensor:
    shape = tuple(case.images.shape[1:])
    return torch.stack([gradient(case, case.images + deviation * normal(i, shape)) for i in range(samples)])


def maps(case: Case) -> dict[str, Tensor]:
    case.model.requires_grad_(False)
    asked = {(peer, method): options for peer, method, _, options in by_xplique(case) + by_installed(case)}
    found = Found(case.name)

    def add(peer: str, method: str, value: Tensor) -> None:
        found.add(peer, method, value, **asked[peer, method])

    plain = gradient(case, case.images)
    add("xplique", "gradient", plain.abs().amax(1))
    add("xplique", "input-x-gradient", (plain * case.images).mean(1))
    steps = asked["xplique", "integrated-gradients"]["steps"]
    ends = [0.5, *[1.0] * (steps - 2), 0.5]
    path = along_path(case, steps, ends)
    add("xplique", "integrated-gradients", path.mean(1))
    add("captum", "integrated-gradients", path.sum(1))  # the later of its entries, the trapezoid
    add("PAIR saliency", "integrated-gradients", along_path(case, steps, [1.0] * steps).sum(1))
    several = noisy(case, asked["xplique", "smooth-grad"]["samples"], 0.2)
    add("xplique", "smooth-grad", several.mean(0).mean(1))
    add("xplique", "var-grad", several.var(0).mean(1))
    return found.tensors
