"""Metrics of torch-cam and Quantus. Both get the map that sightline judges in bench/metrics.mjs, the sum of the
image's channels, so that what is timed is the metric alone."""

import time
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from peer import Job, Setting, peer


class _Enough(Exception):
    """So many runs of the model were seen."""


class _ChannelSum:
    """What torch-cam's metrics ask of one of its extractors."""

    def __init__(self, model: nn.Module, images: Tensor):
        self.model, self.map = model, images.sum(1)

    def __call__(self, class_idx, scores, normalized=True):
        return [self.map]

    def fuse_cams(self, cams):
        return cams[0]

    def _hooks_off(self):
        return nullcontext()


@peer("torch-cam-metrics/deletion-insertion")
def deletion_insertion(setting: Setting) -> Job:
    from torchcam.metrics import DeletionInsertionMetric

    extractor = _ChannelSum(setting.model, setting.images)

    def run() -> dict[str, float]:
        metric = DeletionInsertionMetric(extractor, partial(torch.softmax, dim=-1))
        # The run on the images themselves, which torch-cam leaves gradients on for.
        metric.update(setting.images, setting.targets)
        return metric.summary()

    return Job(run, lambda found: np.array([found["deletion_auc"], found["insertion_auc"]]))


class _Counted(nn.Module):
    """The model, which says when its first run began and its last one ended, and may stop after so many."""

    def __init__(self, model: nn.Module, most: int | None):
        super().__init__()
        self.model, self.most, self.runs = model, most, []

    def forward(self, images: Tensor) -> Tensor:
        if self.most is not None and len(self.runs) == self.most:
            raise _Enough
        self.runs.append((time.perf_counter(), time.process_time()))
        return self.model(images)


@peer("quantus/pixel-flipping")
def pixel_flipping(setting: Setting) -> Job:
    """`features`: values in a step; `most`: steps after which it is stopped. Answers seconds and processor seconds of a
    step, and the number of steps that there are."""
    import quantus

    features = setting.options["features"]
    metric = quantus.PixelFlipping(features_in_step=features, disable_warnings=True)
    images, targets = setting.images.numpy(), np.array(setting.targets)
    heat = setting.images.sum(1, keepdim=True).numpy()

    def run() -> list[float]:
        counted = _Counted(setting.model, setting.options["most"]).eval()
        try:
            metric(model=counted, x_batch=images, y_batch=targets, a_batch=heat, channel_first=True, device="cpu")
        except _Enough:
            pass
        (begun, used), (ended, used_then), steps = counted.runs[0], counted.runs[-1], len(counted.runs) - 1
        return [(ended - begun) / steps, (used_then - used) / steps, -(-images[0].size // features)]

    return Job(run, np.array)
