"""The same methods by the peers' own code. Where a peer draws noise, its generator is made to draw ours."""

import sys
import types
from pathlib import Path
from unittest import mock

from score_subjects import Subject
from score_formulas import shared_noise

import numpy as np
import pytorch_grad_cam.ablation_cam
import pytorch_grad_cam.base_cam
import pytorch_grad_cam.score_cam
import torch
from pytorch_grad_cam import AblationCAM, DeepFeatureFactorization, ScoreCAM
from pytorch_grad_cam.ablation_layer import AblationLayer, AblationLayerVit
from pytorch_grad_cam.feature_factorization import deep_feature_factorization
from pytorch_grad_cam.utils.image import scale_cam_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor
from torchcam.methods import ISCAM, SSCAM, ScoreCAM as TorchCamScoreCAM, SmoothGradCAMpp

# Progress bars, one for each image.
for module in (pytorch_grad_cam.ablation_cam, pytorch_grad_cam.score_cam):
    module.tqdm.tqdm = lambda iterable, **_: iterable


def at_grid(cam, target_size=None):
    """pytorch-grad-cam's scaling without its resize to the image: maps stay as small as they are computed."""
    return scale_cam_image(cam)


def grad_cam_package(cam, image: Tensor, target: int) -> Tensor:
    with mock.patch.object(pytorch_grad_cam.base_cam, "scale_cam_image", at_grid):
        return torch.from_numpy(cam(image[None], [ClassifierOutputTarget(target)])[0])


def grad_cam_score_cam(subject: Subject, image: Tensor, target: int) -> Tensor:
    return grad_cam_package(ScoreCAM(subject.model, [subject.module], reshape_transform=subject.reshape), image, target)


def grad_cam_ablation_cam(subject: Subject, image: Tensor, target: int) -> Tensor:
    layer = AblationLayer() if subject.form == "cnn" else AblationLayerVit()
    cam = AblationCAM(subject.model, [subject.module], reshape_transform=subject.reshape, ablation_layer=layer)
    return grad_cam_package(cam, image, target)


def torch_cam(extractor, subject: Subject, image: Tensor, target: int) -> Tensor:
    with extractor:
        subject.model(image[None])
        return extractor(target)[0][0]


def arguments(subject: Subject, image: Tensor) -> dict:
    return {"target_layer": subject.layer, "input_shape": tuple(image.shape), "reshape_transform": subject.reshape}


def torch_cam_score_cam(subject: Subject, image: Tensor, target: int) -> Tensor:
    return torch_cam(TorchCamScoreCAM(subject.model, **arguments(subject, image)), subject, image, target)


class Shared:
    """Stands in for the peer's distribution: gives the noise of sightline's samples, one call after the other."""

    def __init__(self, level: float, per_channel: bool):
        self.level, self.per_channel, self.calls = level, per_channel, 0

    def sample(self, size: torch.Size) -> Tensor:
        call, self.calls = self.calls, self.calls + 1
        _, channels, height, width = size
        if not self.per_channel:
            return self.level * shared_noise((channels, height, width), call)[None]
        return (
            self.level
            * torch.stack([shared_noise((height, width), call * channels + c) for c in range(channels)])[None]
        )


def torch_cam_ss_cam(subject: Subject, image: Tensor, target: int, samples: int, level: float) -> Tensor:
    extractor = SSCAM(subject.model, num_samples=samples, std=level, **arguments(subject, image))
    extractor._distrib = Shared(level, per_channel=True)
    return torch_cam(extractor, subject, image, target)


def torch_cam_is_cam(subject: Subject, image: Tensor, target: int, steps: int) -> Tensor:
    return torch_cam(ISCAM(subject.model, num_samples=steps, **arguments(subject, image)), subject, image, target)


def torch_cam_smooth_grad_cam_plus_plus(
    subject: Subject, image: Tensor, target: int, samples: int, level: float
) -> Tensor:
    extractor = SmoothGradCAMpp(subject.model, num_samples=samples, std=level, **arguments(subject, image))
    extractor._distrib = Shared(level, per_channel=False)
    return torch_cam(extractor, subject, image, target)


def factorization(subject: Subject, image: Tensor, components: int) -> tuple[Tensor, Tensor, Tensor]:
    """Maps [components, h, w], each min-maxed; logits of the concepts [components, classes], of vectors as the peer
    gives them and of vectors that are brought to the peak of their map."""
    feature = subject.features(image[None]).detach()
    channel_axis = 1 if subject.form == "cnn" else -1

    def classified(vectors: Tensor) -> Tensor:
        sizes = [1] * feature.dim()
        sizes[0], sizes[channel_axis] = vectors.shape
        return subject.resumed(image, vectors.view(sizes).expand(len(vectors), *feature.shape[1:]).contiguous())

    with mock.patch.object(deep_feature_factorization, "scale_cam_image", at_grid):
        peer = DeepFeatureFactorization(subject.model, subject.module, subject.reshape, classified)
        concepts, maps, logits = peer(image[None], components)
    spatial = subject.reshape(feature)
    offset = spatial.amin(dim=(0, 2, 3)).numpy()
    _, explanations = deep_feature_factorization.dff(spatial.numpy().copy(), components)
    peaks = explanations[0].max(axis=(1, 2))
    at_peak = (concepts - offset[:, None]) * peaks + offset[:, None]
    with torch.no_grad():
        scaled = classified(torch.from_numpy(np.float32(at_peak.T)))
    return torch.from_numpy(np.float32(maps[0])), torch.from_numpy(logits), scaled


def load_vit_cx(folder: Path):
    """ViT_CX of its own repository, on a CPU and with the scikit-learn of today."""
    import sklearn.cluster

    skimage = types.ModuleType("skimage")
    skimage.transform = types.ModuleType("skimage.transform")
    skimage.transform.resize = None  # imported there, and not used
    sys.modules.update({"skimage": skimage, "skimage.transform": skimage.transform})
    sys.path.insert(0, str(folder / "ViT_CX"))
    import ViT_CX as peer

    def clustering(affinity, **settings):
        # `affinity` is called `metric` since scikit-learn 1.4.
        return sklearn.cluster.AgglomerativeClustering(metric=affinity, **settings)

    peer.AgglomerativeClustering = clustering
    return peer


def vit_cx(peer, subject: Subject, image: Tensor, target: int) -> tuple[Tensor, int]:
    """The map at the image's size, and how many masks there were."""
    counts: list[int] = []

    def randn(size, *_args, **_kwargs) -> Tensor:
        counts.append(size[0])
        return torch.stack([shared_noise(tuple(size[1:]), i) for i in range(size[0])])

    with (
        mock.patch.object(torch.Tensor, "cuda", lambda self: self),
        mock.patch.object(torch.nn.Module, "cuda", lambda self: self),
        mock.patch.object(torch, "randn", randn),
        mock.patch("builtins.print"),
    ):
        sal = peer.ViT_CX(subject.model, image[None], subject.module, target, reshape_function=subject.reshape)
    return torch.from_numpy(np.asarray(sal)).float(), counts[0]
