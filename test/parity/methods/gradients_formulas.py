"""Formulas where no peer computes the same: each takes an `Explained` and returns raw maps [N, H, W]."""

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad
from torchvision.transforms.functional import gaussian_blur

from gradients_models import Explained
from gradients_noise import BASELINE_STREAM, normal, rise_draws, uniform


def slopes(explained: Explained, images: Tensor, target: int) -> Tensor:
    images = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(explained.model(images)[:, target].sum(), images)
    return gradient


def variance(samples: int, share: float) -> Callable[[Explained], Tensor]:
    """Unbiased, of gradients at noise of a share of each image's range; in float64 once the gradients are there."""

    def maps(explained: Explained) -> Tensor:
        found = []
        for image, target in zip(explained.images, explained.targets):
            deviation = share * (image.max() - image.min())
            noisy = torch.stack([image + deviation * normal(i, tuple(image.shape)) for i in range(samples)])
            found.append(slopes(explained, noisy, target).double().var(0, unbiased=True).sum(0).float())
        return torch.stack(found)

    return maps


def rise(
    masks: int, grid: tuple[int, int], probability: float, expected: bool = False
) -> Callable[[Explained], Tensor]:
    """Masks as in the paper: cells of ceil(side / cells) pixels, one more than fit, cut at an offset below one cell."""

    def maps(explained: Explained) -> Tensor:
        height, width = explained.images.shape[2:]
        cell = (ceil(height / grid[0]), ceil(width / grid[1]))
        drawn = []
        for i in range(masks):
            numbers = rise_draws(i, grid)
            coarse = (numbers[:-2].reshape(1, 1, *grid) < probability).float()
            smooth = interpolate(
                coarse, size=[(n + 1) * c for n, c in zip(grid, cell)], mode="bilinear", align_corners=False
            )
            top, left = (int(numbers[-2] * cell[0]), int(numbers[-1] * cell[1]))
            drawn.append(smooth[0, 0, top : top + height, left : left + width])
        shown = torch.stack(drawn)
        found = []
        with torch.no_grad():
            for image, target in zip(explained.images, explained.targets):
                scores = torch.cat([explained.model(image * part[:, None])[:, target] for part in shown.split(32)])
                weighted = torch.einsum("s,shw->hw", scores.double(), shown.double())
                found.append((weighted / (masks * probability if expected else shown.double().sum(0) + 1e-4)).float())
        return torch.stack(found)

    return maps


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Along the rows, then along the columns: a convolution in two dimensions rounds differently, and gradients of ReLU
    networks jump at such differences."""
    height, width = images.shape[2:]
    reach = min(ceil(3 * sigma), height - 1, width - 1)
    weights = torch.exp(-torch.arange(-reach, reach + 1, dtype=torch.float64).square() / (2 * sigma**2))
    weights = (weights / weights.sum()).float()
    planes = pad(images.reshape(-1, 1, height, width), [reach] * 4, mode="reflect")
    smooth = conv2d(conv2d(planes, weights.reshape(1, 1, 1, -1)), weights.reshape(1, 1, -1, 1)).reshape(images.shape)
    torch.testing.assert_close(smooth, gaussian_blur(images, [2 * reach + 1] * 2, [sigma] * 2), atol=1e-5, rtol=0)
    return smooth


def noise_baselines(samples: int, deviation: float) -> Callable[[Tensor], Tensor]:
    """A baseline for each sample of expected gradients."""
    return lambda images: (
        deviation * torch.stack([normal(i, tuple(images.shape[1:]), BASELINE_STREAM) for i in range(samples)])
    )


def several_baselines(images: Tensor) -> Tensor:
    """Zeros, one grey and one colour."""
    color = torch.tensor([0.5, -0.25, 1.0]).reshape(3, 1, 1).expand(images.shape[1:])
    return torch.stack([torch.zeros_like(images[0]), torch.full_like(images[0], 0.75), color])


def given_baselines(images: Tensor) -> Tensor:
    return torch.stack([uniform(900 + i, tuple(images.shape[1:])) for i in range(3)])
