"""Formulas where no peer computes the same: each takes an `Explained` and returns raw maps [N, H, W]."""

from collections.abc import Callable
from math import ceil

import torch
from scipy.ndimage import gaussian_filter
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


def scale_space(image: Tensor, sigma: float) -> Tensor:
    """Blurred as PAIR's saliency does it: zeros around the image, cut off at four standard deviations."""
    if sigma == 0:
        return image
    return torch.from_numpy(
        gaussian_filter(image.double().numpy(), sigma=[0, sigma, sigma], mode="constant", truncate=4.0)
    ).float()


def along_blur(steps: int, widest: float) -> Callable[[Explained], Tensor]:
    """Blur IG by the gradient in the middle of each step and the whole change of the pixels."""

    def maps(explained: Explained) -> Tensor:
        found = []
        for image, target in zip(explained.images, explained.targets):
            blurred = [scale_space(image, widest * (i / (2 * steps)) ** 2) for i in range(2 * steps + 1)]
            gradients = slopes(explained, torch.stack(blurred[1::2]), target)
            changes = torch.stack(blurred[:-1:2]) - torch.stack(blurred[2::2])
            found.append((gradients.double() * changes).sum((0, 1)).float())
        return torch.stack(found)

    return maps


def from_blur(image: Tensor, share: float) -> Tensor:
    """On the line from the blurred image: of one color, a network with max pooling would have no gradient."""
    start = blurred(image[None], 4)[0]
    return start + share * (image - start)


def idgi(steps: int, path: Callable[[Tensor, float], Tensor]) -> Callable[[Explained], Tensor]:
    """IDGI along a path: the image that lies at a share of the way from "nothing to see" to the image."""

    def maps(explained: Explained) -> Tensor:
        found = []
        for image, target in zip(explained.images, explained.targets):
            images = torch.stack([path(image, i / steps) for i in range(steps + 1)])
            gradients = slopes(explained, images[:-1], target).double()
            with torch.no_grad():
                scores = torch.cat([explained.model(part)[:, target] for part in images.split(32)]).double()
            gains = (scores[1:] - scores[:-1])[:, None, None, None]
            found.append((gains * gradients**2 / (gradients**2).sum((1, 2, 3), keepdim=True)).sum((0, 1)).float())
        return torch.stack(found)

    return maps
