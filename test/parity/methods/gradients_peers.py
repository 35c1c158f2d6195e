"""What the peers' own code says: each function takes an `Explained` and returns raw maps [N, H, W].

captum 0.9.0, xplique 2.0.2 (TensorFlow around a PyTorch model), PAIR's saliency 0.2.1, pytorch-grad-cam 1.5.7.
"""

import copy
import os
import warnings
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from gradients_models import Explained
from gradients_noise import captum_noise, gradient_shap_draws, pair_noise, xplique_masks, xplique_noise

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
warnings.filterwarnings("ignore")

Reduce = Callable[[Tensor], Tensor]


def total(values: Tensor) -> Tensor:
    return values.sum(1)


def average(values: Tensor) -> Tensor:
    return values.mean(1)


def total_of_magnitudes(values: Tensor) -> Tensor:
    return values.abs().sum(1)


def largest(values: Tensor) -> Tensor:
    return values.abs().amax(1)


# --- captum
# ---------------------------------------------------------------------------------------------------------------


def captum(method: str, reduce: Reduce = total, /, **options) -> Callable[[Explained], Tensor]:
    def maps(explained: Explained) -> Tensor:
        import captum.attr

        peer = getattr(captum.attr, method)(explained.model)
        return reduce(peer.attribute(explained.images.clone(), target=explained.targets, **options)).detach()

    return maps


def captum_on_gelu(method: str, reduce: Reduce) -> Callable[[Explained], Tensor]:
    """captum puts its hooks on nn.ReLU alone; here it finds nn.GELU under that name."""
    compute = captum(method, reduce)

    def maps(explained: Explained) -> Tensor:
        with patch.object(nn, "ReLU", nn.GELU):
            return compute(explained)

    return maps


def captum_tunnel(method: str, reduce: Reduce = total, /, **options) -> Callable[[Explained], Tensor]:
    def maps(explained: Explained) -> Tensor:
        import captum.attr

        peer = captum.attr.NoiseTunnel(getattr(captum.attr, method)(explained.model))
        with captum_noise(len(explained.images)):
            return reduce(peer.attribute(explained.images.clone(), target=explained.targets, **options)).detach()

    return maps


def captum_completeness(**options) -> Callable[[Explained], Tensor]:
    """The convergence delta of integrated gradients, [N]."""

    def delta(explained: Explained) -> Tensor:
        from captum.attr import IntegratedGradients

        _, found = IntegratedGradients(explained.model).attribute(
            explained.images, target=explained.targets, return_convergence_delta=True, **options
        )
        return found.detach().float()

    return delta


def captum_gradient_shap(
    baselines_of: Callable[[Tensor], Tensor], *, each: bool = False, local: bool = False, error: bool = False, **options
) -> Callable[[Explained], Tensor]:
    """With our draws. `each`: every sample has a baseline of its own; `error`: the mean convergence delta in place of
    the map, [N]."""

    def maps(explained: Explained) -> Tensor:
        from captum.attr import GradientShap

        baselines = baselines_of(explained.images)
        with gradient_shap_draws(len(explained.images), None if each else len(baselines)):
            found, delta = GradientShap(explained.model, multiply_by_inputs=not local).attribute(
                explained.images.clone(),
                baselines,
                target=explained.targets,
                return_convergence_delta=True,
                **options,
            )
        return (delta.reshape(len(found), -1).mean(1) if error else total(found)).detach().float()

    return maps


def captum_guided_grad_cam(layer: str, reduce: Reduce, **options) -> Callable[[Explained], Tensor]:
    def maps(explained: Explained) -> Tensor:
        from captum.attr import GuidedGradCam

        peer = GuidedGradCam(explained.model, explained.model.get_submodule(layer))
        return reduce(peer.attribute(explained.images.clone(), target=explained.targets, **options)).detach()

    return maps


def captum_occlusion(window: tuple[int, int], stride: tuple[int, int], **options) -> Callable[[Explained], Tensor]:
    def maps(explained: Explained) -> Tensor:
        from captum.attr import Occlusion

        with torch.no_grad():
            found = Occlusion(explained.model).attribute(
                explained.images,
                target=explained.targets,
                sliding_window_shapes=(3, *window),
                strides=(3, *stride),
                perturbations_per_eval=16,
                **options,
            )
        return found[:, 0]  # the window spans all channels, so they are equal

    return maps


# --- pytorch-grad-cam
# -----------------------------------------------------------------------------------------------------


def one_by_one(maps_of: Callable[[nn.Module, Tensor, int], Tensor]) -> Callable[[Explained], Tensor]:
    def maps(explained: Explained) -> Tensor:
        return torch.stack(
            [
                maps_of(copy.deepcopy(explained.model), image[None].clone(), target)
                for image, target in zip(explained.images, explained.targets)
            ]
        )

    return maps


def pytorch_grad_cam_guided(reduce: Reduce) -> Callable[[Explained], Tensor]:
    def map_of(model: nn.Module, image: Tensor, target: int) -> Tensor:
        from pytorch_grad_cam import GuidedBackpropReLUModel

        found = GuidedBackpropReLUModel(model, "cpu")(image, target_category=target)
        return reduce(torch.from_numpy(found).permute(2, 0, 1)[None])[0]

    return one_by_one(map_of)


def pytorch_grad_cam_product(layer: str, reduce: Reduce) -> Callable[[Explained], Tensor]:
    """As its cam.py multiplies guided backpropagation and the finished map."""

    def map_of(model: nn.Module, image: Tensor, target: int) -> Tensor:
        from pytorch_grad_cam import GradCAM, GuidedBackpropReLUModel
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        with GradCAM(model, [model.get_submodule(layer)]) as cam:
            mask = cam(input_tensor=image.clone(), targets=[ClassifierOutputTarget(target)])[0]
        guided = GuidedBackpropReLUModel(model, "cpu")(image, target_category=target)
        return reduce(torch.from_numpy(guided * mask[:, :, None]).permute(2, 0, 1)[None])[0]

    return one_by_one(map_of)


# --- xplique
# --------------------------------------------------------------------------------------------------------------


def xplique(method: str, **options) -> Callable[[Explained], Tensor]:
    def maps(explained: Explained) -> Tensor:
        import tensorflow  # noqa: F401
        import xplique.attributions
        from xplique.wrappers import TorchWrapper

        with torch.no_grad():
            classes = explained.model(explained.images).shape[1]
        asked = np.eye(classes, dtype=np.float32)[explained.targets]
        images = explained.images.permute(0, 2, 3, 1).numpy()
        peer = getattr(xplique.attributions, method)(
            TorchWrapper(explained.model, "cpu", is_channel_first=True), **options
        )
        with xplique_noise():
            found = peer.explain(images, asked)
        return torch.from_numpy(np.array(found))[..., 0]

    return maps


def xplique_rise(grid: tuple[int, int], **options) -> Callable[[Explained], Tensor]:
    """Image by image: the offsets of the masks' chunks begin anew with each."""
    rise = xplique("Rise", grid_size=grid, **options)

    def maps(explained: Explained) -> Tensor:
        found = []
        for image, target in zip(explained.images, explained.targets):
            with xplique_masks(grid):
                found.append(rise(Explained(explained.model, image[None], [target]))[0])
        return torch.stack(found)

    return maps


# --- PAIR saliency
# --------------------------------------------------------------------------------------------------------


def pair(
    method: str, reduce: Reduce, smoothed: dict | None = None, is_double: bool = False, **options
) -> Callable[[Explained], Tensor]:
    """`is_double`: images in float64, for a peer that takes differences of nearly equal ones."""

    def maps(explained: Explained) -> Tensor:
        import saliency.core as saliency

        def call(images: np.ndarray, call_model_args: dict, expected_keys: list[str]) -> dict[str, np.ndarray]:
            inputs = (
                torch.from_numpy(np.asarray(images, dtype=np.float32)).permute(0, 3, 1, 2).contiguous().requires_grad_()
            )
            scores = explained.model(inputs)[:, call_model_args["target"]]
            if expected_keys == [saliency.OUTPUT_LAYER_VALUES]:
                return {saliency.OUTPUT_LAYER_VALUES: scores.detach().numpy()}
            (slopes,) = torch.autograd.grad(scores.sum(), inputs)
            return {saliency.INPUT_OUTPUT_GRADIENTS: slopes.permute(0, 2, 3, 1).numpy()}

        found = []
        for image, target in zip(explained.images, explained.targets):
            peer = getattr(saliency, method)()
            args = dict(
                x_value=image.permute(1, 2, 0).numpy().astype(np.float64 if is_double else np.float32),
                call_model_function=call,
                call_model_args={"target": target},
            )
            with pair_noise():
                mask = (
                    peer.GetSmoothedMask(**args, **smoothed)
                    if smoothed is not None
                    else peer.GetMask(**args, **options)
                )
            found.append(torch.from_numpy(np.asarray(mask, dtype=np.float32)).permute(2, 0, 1))
        return reduce(torch.stack(found))

    return maps
