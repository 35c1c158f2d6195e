"""Our noise in place of the peers' own, so that sampled methods can be compared number by number.

Sample i of seed s is drawn from a generator of its own, seeded with s * 1000003 + i; every image of a batch gets the
same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor


def generator(sample: int, seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1000003 + sample)


def normal(sample: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(sample, seed))


def uniform(sample: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=generator(sample, seed))


@contextmanager
def captum_noise(images: int) -> Iterator[None]:
    """NoiseTunnel draws torch.normal(0, deviations) for [images * samples, ...], the samples of an image together."""

    def drawn(_mean: float, deviations: Tensor) -> Tensor:
        samples = len(deviations) // images
        each = torch.stack([normal(i, tuple(deviations.shape[1:])) for i in range(samples)])
        return each.repeat(images, 1, 1, 1) * deviations

    with patch.object(torch, "normal", drawn):
        yield


# Added to the seed by expected gradients: for baselines of noise, and for noise on the image.
BASELINE_STREAM, IMAGE_STREAM = 2**31, 2**30


@contextmanager
def gradient_shap_draws(images: int, count: int | None) -> Iterator[None]:
    """GradientShap draws noise, one of the baselines and a share of the way for [images * samples], the samples of an
    image together. `count`: of the baselines of which one is drawn; None where each sample has its own."""

    def noise(_mean: float, deviations: Tensor) -> Tensor:
        each = [normal(i, tuple(deviations.shape[1:]), IMAGE_STREAM) for i in range(len(deviations) // images)]
        return torch.stack(each).repeat(images, 1, 1, 1) * deviations

    def chosen(_baselines: int, draws: int) -> np.ndarray:
        samples = draws // images
        each = [i if count is None else int(uniform(i, (2,))[1] * count) for i in range(samples)]
        return np.array(each * images)

    def shares(_low: float, _high: float, draws: int) -> np.ndarray:
        samples = draws // images
        return np.array([(float(uniform(i, (2,))[0]) + i) / samples for i in range(samples)] * images)

    with (
        patch.object(torch, "normal", noise),
        patch.object(np.random, "choice", chosen),
        patch.object(np.random, "uniform", shares),
    ):
        yield


@contextmanager
def xplique_noise() -> Iterator[None]:
    """xplique draws all samples of one image at once when its batch is as large as they are many: [samples, H, W,
    C]."""
    import tensorflow as tf

    def drawn(shape, mean, deviation, dtype) -> tf.Tensor:
        samples, height, width, channels = shape
        each = torch.stack([normal(i, (channels, height, width)) for i in range(samples)])
        return tf.constant(mean + deviation * each.permute(0, 2, 3, 1).numpy(), dtype=dtype)

    with patch.object(tf.random, "normal", drawn):
        yield


@contextmanager
def pair_noise() -> Iterator[None]:
    """PAIR's saliency draws sample after sample, [H, W, C]."""
    counter = iter(range(10**6))

    def drawn(mean: float, deviation: float, shape: tuple[int, ...]) -> np.ndarray:
        height, width, channels = shape
        return mean + deviation * normal(next(counter), (channels, height, width)).permute(1, 2, 0).numpy()

    with patch.object(np.random, "normal", drawn):
        yield


def rise_draws(sample: int, grid: tuple[int, int]) -> Tensor:
    """The numbers that one mask is made of: one for each cell, row by row, and two for the offset."""
    return uniform(sample, (grid[0] * grid[1] + 2,))


@contextmanager
def xplique_masks(grid: tuple[int, int]) -> Iterator[None]:
    """xplique draws the cells of all masks at once, and one offset for each chunk of masks, image after image."""
    import tensorflow as tf

    cells = grid[0] * grid[1]

    def drawn(shape, low, high) -> tf.Tensor:
        assert (low, high) == (0, 1) and tuple(shape[1:3]) == grid
        each = torch.stack([rise_draws(i, grid)[:cells].reshape(*grid, 1) for i in range(shape[0])])
        return tf.constant(each.numpy())

    chunks = [0]

    def cut(masks, size) -> tf.Tensor:
        _, height, width, _ = size
        room = np.array([masks.shape[1] - height + 1, masks.shape[2] - width + 1], dtype=np.float32)
        top, left = (rise_draws(chunks[0], grid)[cells:].numpy() * room).astype(int)
        chunks[0] += 1
        return masks[:, top : top + height, left : left + width]

    with patch.object(tf.random, "uniform", drawn), patch.object(tf.image, "random_crop", cut):
        yield
