"""The Score-CAM family by its definitions, one image at a time, in plain PyTorch: what the defaults are compared
with."""

import torch
import torch.nn.functional as F
from torch import Tensor, randn  # by name: the peers' is replaced while they run

from score_subjects import Subject


def shared_noise(shape: tuple[int, ...], sample: int, seed: int = 0) -> Tensor:
    """The standard normal noise of a loop's sample, as sightline draws it."""
    return randn(shape, generator=torch.Generator().manual_seed(seed * 1000003 + sample))


def unit(maps: Tensor) -> Tensor:
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low + 1e-8)


@torch.no_grad()
def score_cam(subject: Subject, image: Tensor, target: int, change=None, rounds: int = 1) -> Tensor:
    """`change(mask, image, channel, round)` gives the image to be scored; by default their product."""
    features = subject.reshape(subject.features(image[None]))[0]
    masks = unit(F.interpolate(features[None], image.shape[1:], mode="bilinear", align_corners=False)[0])
    scores = torch.zeros(len(masks))
    for channel, mask in enumerate(masks):
        for r in range(rounds):
            seen = change(mask, image, channel, r) if change else mask * image
            scores[channel] += subject.logits(seen[None])[0, target] / rounds
    return (scores.softmax(0)[:, None, None] * features).sum(0).relu()


def ss_cam(subject: Subject, image: Tensor, target: int, samples: int, level: float, noise_on: str) -> Tensor:
    channels = subject.reshape(subject.features(image[None])).shape[1]

    def change(mask: Tensor, image: Tensor, channel: int, r: int) -> Tensor:
        sample = r * channels + channel
        if noise_on == "mask":
            return (mask + level * shared_noise(tuple(mask.shape), sample)) * image
        return mask * image + level * shared_noise(tuple(image.shape), sample)

    return score_cam(subject, image, target, change, samples)


def is_cam(subject: Subject, image: Tensor, target: int, steps: int) -> Tensor:
    return score_cam(subject, image, target, lambda mask, image, _, r: (r + 1) / steps * mask * image, steps)


def smooth_grad_cam_plus_plus(subject: Subject, image: Tensor, target: int, samples: int, level: float) -> Tensor:
    features = subject.reshape(subject.features(image[None]))[0].detach()
    moments = [torch.zeros_like(features) for _ in range(3)]
    for sample in range(samples):
        feature, logits = subject.run((image + level * shared_noise(tuple(image.shape), sample))[None])
        gradient = subject.reshape(torch.autograd.grad(logits[0, target], feature)[0])[0]
        for power, moment in enumerate(moments, start=1):
            moment += gradient**power / samples
    first, second, third = moments
    denominator = torch.maximum(second, 2 * second + features.sum(dim=(1, 2), keepdim=True) * third)
    alpha = torch.where(denominator == 0, torch.zeros_like(second), second / denominator)
    weights = (alpha * first.relu()).sum(dim=(1, 2), keepdim=True)
    return (weights * features).sum(0).relu()


@torch.no_grad()
def ablation_cam(subject: Subject, image: Tensor, target: int) -> Tensor:
    feature, logits = subject.run(image[None])
    score = logits[0, target]
    spatial = subject.reshape(feature)[0]
    weights = []
    axis = 1 if subject.form == "cnn" else -1
    for channel in range(len(spatial)):
        ablated = feature.clone()
        ablated.select(axis, channel).zero_()
        weights.append((score - subject.resumed(image, ablated)[0, target]) / score.abs())
    return (torch.stack(weights)[:, None, None] * spatial).sum(0).relu()
