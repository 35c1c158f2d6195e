"""Writes gradients-MODEL.safetensors: what the peers say of the shipped models and of small archives.

Usage: python test/parity/methods/gradients.py [--missing] [MODEL...]      (--missing: only cases that the file lacks)
needs: pip install captum==0.9.0 grad-cam==1.5.7 saliency==0.2.1 xplique==2.0.2 tensorflow-cpu==2.20.0

Tensors: `targets` [N]; for every case of a method its name holds raw maps and `NAME.range` [N, 2] their least and
largest value. Maps of 224 pixels are kept at every 16th from the 7th on, others at every 3rd from the 1st on: what is
compared is the min-max map, whose scale the range gives. Small archives are asked about the first images of
test/parity/references.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from gradients_models import Explained, archive, eager, shipped

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

import gradients_formulas as formulas
import gradients_peers as peers
from gradients_peers import largest, total, total_of_magnitudes
from reference_file import save_reference

HERE = Path(__file__).parent
COLOUR = [0.5, -0.25, 1.0]
Case = Callable[[Explained], Tensor]


def from_colour(explained: Explained) -> Tensor:
    baseline = torch.tensor(COLOUR).reshape(1, 3, 1, 1).expand_as(explained.images)
    return peers.captum("IntegratedGradients", baselines=baseline, internal_batch_size=32)(explained)


def captum_from_blur(**options) -> Case:
    def maps(explained: Explained) -> Tensor:
        return peers.captum("IntegratedGradients", baselines=formulas.blurred(explained.images, 4), **options)(
            explained
        )

    return maps


def each_from_blur(peer: Callable[[np.ndarray], Case]) -> Case:
    """Of peers that take one baseline, [H, W, channels], for all images."""

    def maps(explained: Explained) -> Tensor:
        blurred = formulas.blurred(explained.images, 4).permute(0, 2, 3, 1).numpy()
        return torch.cat(
            [
                peer(blurred[i])(replace(explained, images=explained.images[i : i + 1], targets=[target]))
                for i, target in enumerate(explained.targets)
            ]
        )

    return maps


def captum_integral(method: str) -> Case:
    return peers.captum("IntegratedGradients", method=method, n_steps=12)


def local_gradients(explained: Explained) -> Tensor:
    from captum.attr import IntegratedGradients

    peer = IntegratedGradients(explained.model, multiply_by_inputs=False)
    return total(peer.attribute(explained.images, target=explained.targets, n_steps=20)).detach()


# What every model is asked. Values that are no maps are called NAME.error.
GRADIENTS: dict[str, Case] = {
    "gradient": peers.captum("Saliency", largest),
    "gradient.sum": peers.captum("Saliency", total, abs=False),
    "input-x-gradient": peers.captum("InputXGradient"),
    "smooth-grad.captum": peers.captum_tunnel("Saliency", nt_type="smoothgrad"),
    "var-grad.captum": peers.captum_tunnel("Saliency", nt_type="vargrad"),
    "integrated-gradients": peers.captum("IntegratedGradients", internal_batch_size=32),
    "integrated-gradients.error": peers.captum_completeness(internal_batch_size=32),
    "expected-gradients.given": peers.captum_gradient_shap(formulas.given_baselines, n_samples=12),
    "expected-gradients.given.error": peers.captum_gradient_shap(formulas.given_baselines, error=True, n_samples=12),
    "blur-ig.slight.idgi": formulas.idgi(6, lambda image, share: formulas.scale_space(image, 2 * (1 - share) ** 2)),
}
RECTIFIED: dict[str, Case] = {
    "guided-backprop": peers.captum("GuidedBackprop", largest),
    "deconvnet": peers.captum("Deconvolution", largest),
    "guided-backprop.sum": peers.captum("GuidedBackprop", total),
    "deconvnet.sum": peers.captum("Deconvolution", total),
}
SMOOTH: dict[str, Case] = {
    "guided-backprop.sum": peers.captum_on_gelu("GuidedBackprop", total),
    "deconvnet.sum": peers.captum_on_gelu("Deconvolution", total),
}
GUIDED_PRODUCTS: dict[str, Case] = {
    "guided-backprop.pytorch-grad-cam": peers.pytorch_grad_cam_guided(largest),
    "guided-grad-cam": peers.captum_guided_grad_cam("layer4", largest, interpolate_mode="bilinear"),
    "guided-grad-cam.captum": peers.captum_guided_grad_cam("layer4", largest),
    "guided-grad-cam.layer3": peers.captum_guided_grad_cam("layer3", total, interpolate_mode="bilinear"),
    "guided-grad-cam.pytorch-grad-cam": peers.pytorch_grad_cam_product("layer4", largest),
}
EVERY_OPTION: dict[str, Case] = {
    "gradient.pair": peers.pair("GradientSaliency", total_of_magnitudes),
    "gradient.xplique": peers.xplique("Saliency"),
    "input-x-gradient.xplique": peers.xplique("GradientInput", reducer="mean"),
    "smooth-grad": peers.pair("GradientSaliency", total_of_magnitudes, smoothed=dict(nsamples=50, magnitude=False)),
    "smooth-grad.pair": peers.pair("GradientSaliency", total_of_magnitudes, smoothed={}),
    "smooth-grad.xplique": peers.xplique("SmoothGrad", batch_size=50),
    "smooth-grad.square": peers.xplique("SquareGrad", nb_samples=12, noise=0.5, batch_size=12),
    "var-grad": formulas.variance(50, 0.15),
    "var-grad.xplique": peers.xplique("VarGrad", batch_size=50),
    "var-grad.biased": peers.captum_tunnel("Saliency", abs=False, nt_type="vargrad", nt_samples=9, stdevs=0.25),
    "integrated-gradients.right": captum_integral("riemann_right"),
    "integrated-gradients.middle": captum_integral("riemann_middle"),
    "integrated-gradients.colour": from_colour,
    "integrated-gradients.blur": captum_from_blur(internal_batch_size=32),
    "integrated-gradients.local": local_gradients,
    "expected-gradients": peers.captum_gradient_shap(formulas.noise_baselines(50, 1), each=True, n_samples=50),
    "expected-gradients.error": peers.captum_gradient_shap(
        formulas.noise_baselines(50, 1), each=True, error=True, n_samples=50
    ),
    "expected-gradients.noisy": peers.captum_gradient_shap(formulas.several_baselines, n_samples=9, stdevs=0.25),
    "expected-gradients.noisy.error": peers.captum_gradient_shap(
        formulas.several_baselines, error=True, n_samples=9, stdevs=0.25
    ),
    "expected-gradients.local": peers.captum_gradient_shap(formulas.several_baselines, local=True, n_samples=9),
    "blur-ig": formulas.along_blur(12, 50),
    "blur-ig.pair": peers.pair("BlurIG", total, is_double=True, steps=20, max_sigma=12),
    "blur-ig.idgi": formulas.idgi(12, lambda image, share: formulas.scale_space(image, 50 * (1 - share) ** 2)),
    "integrated-gradients.idgi.blur": formulas.idgi(12, formulas.from_blur),
    "occlusion.coarse": peers.captum_occlusion((32, 32), (16, 16)),
    "occlusion.colour": peers.captum_occlusion((60, 44), (31, 44), baselines=0.75),
    "rise": formulas.rise(200, (7, 7), 0.5),
    "rise.expected": formulas.rise(100, (4, 6), 0.3, expected=True),
    "rise.xplique": peers.xplique_rise((7, 7), nb_samples=100),
}
# Rules of integration with a point on the baseline.
ON_BASELINE: dict[str, Case] = {
    "integrated-gradients.trapezoid.captum": captum_integral("riemann_trapezoid"),
    "integrated-gradients.left": captum_integral("riemann_left"),
    "integrated-gradients.xplique": peers.xplique("IntegratedGradients", batch_size=50),
    "integrated-gradients.pair": peers.pair("IntegratedGradients", total),
}
# A network with max pooling has no gradient at a baseline of one colour: every window's values are equal there, and
# rounding decides which of them is the largest. So there they begin at the blurred image.
ON_BLURRED_BASELINE: dict[str, Case] = {
    "integrated-gradients.trapezoid.captum.blur": captum_from_blur(method="riemann_trapezoid", n_steps=12),
    "integrated-gradients.left.blur": captum_from_blur(method="riemann_left", n_steps=12),
    "integrated-gradients.xplique.blur": each_from_blur(
        lambda blurred: peers.xplique("IntegratedGradients", batch_size=50, baseline_value=blurred)
    ),
    "integrated-gradients.pair.blur": each_from_blur(
        lambda blurred: peers.pair("IntegratedGradients", total, x_baseline=blurred)
    ),
}
# Of one image of torchvision-resnet-frozen, blurred, float32 leaves half of the places open: the largest value of a
# pooling window is undecided.
BLURRED: dict[str, Case] = {"blur-ig.slight": formulas.along_blur(6, 2)}
SMALL: dict[str, Case] = {
    **GRADIENTS,
    "occlusion.clipped": peers.captum_occlusion((7, 9), (5, 4)),
    "rise": formulas.rise(60, (3, 4), 0.5),
}
# A run of the model for each of some thousand windows.
MANY_WINDOWS: dict[str, Case] = {
    "occlusion": peers.captum_occlusion((15, 15), (8, 8)),
    "occlusion.captum": peers.captum_occlusion((7, 5), (1, 1)),
    "occlusion.xplique": peers.xplique("Occlusion"),
    "occlusion.pair": peers.pair("Occlusion", lambda values: values[:, 0], size=15),
}


def everything() -> dict[str, list[tuple[Callable[[], Explained], dict[str, Case]]]]:
    small = (
        "torchvision-resnet-frozen",
        "timm-swin-traced",
        "timm-deit-distilled-traced",
        "timm-dinov2-registers-traced",
        "timm-vit-average-traced",
        "transformers-vit-sdpa-traced",
    )
    return {
        "resnet-tiny-shapes": [
            (
                lambda: shipped("resnet-tiny-shapes"),
                GRADIENTS | BLURRED | EVERY_OPTION | ON_BLURRED_BASELINE | RECTIFIED | GUIDED_PRODUCTS,
            )
        ],
        "vit-tiny-shapes": [
            (lambda: shipped("vit-tiny-shapes"), GRADIENTS | BLURRED | EVERY_OPTION | ON_BASELINE | SMOOTH)
        ],
        "torchvision-resnet-basic-scripted": [
            (lambda: archive("torchvision-resnet-basic-scripted"), SMALL | BLURRED),
            (lambda: eager("torchvision-resnet-basic-scripted"), RECTIFIED),
        ],
        "timm-resnet-traced": [
            (lambda: archive("timm-resnet-traced"), SMALL | BLURRED | MANY_WINDOWS),
            (lambda: eager("timm-resnet-traced"), RECTIFIED),
        ],
        **{
            name: [(lambda name=name: archive(name), SMALL if name.endswith("-frozen") else SMALL | BLURRED)]
            for name in small
        },
    }


def write(name: str, parts: list[tuple[Callable[[], Explained], dict[str, Case]]], only_missing: bool) -> None:
    path = HERE / f"gradients-{name}.safetensors"
    # Cloned, since the tensors of load_file lie in the file, which is written anew after each case.
    tensors = {key: value.clone() for key, value in load_file(path).items()} if only_missing and path.exists() else {}
    asked_of_all = {case for _, cases in parts for case in cases} | {"targets"}
    tensors = {key: value for key, value in tensors.items() if key.removesuffix(".range") in asked_of_all}
    for load, cases in parts:
        asked = {case: compute for case, compute in cases.items() if case not in tensors}
        if not asked:
            continue
        explained = load()
        tensors["targets"] = torch.tensor(explained.targets)
        is_small = explained.images.shape[2] < 224
        for case, compute in asked.items():
            start = time.monotonic()
            found = compute(explained).detach()
            assert found.isfinite().all(), (name, case)
            print(f"{name} {case} {tuple(found.shape)} {time.monotonic() - start:.1f} s", flush=True)
            if found.dim() == 1:
                tensors[case] = found
            else:
                assert found.shape == explained.images[:, 0].shape, (case, found.shape)
                tensors[f"{case}.range"] = torch.stack([found.amin((1, 2)), found.amax((1, 2))], 1)
                tensors[case] = (found[:, 1::3, 1::3] if is_small else found[:, 7::16, 7::16]).contiguous()
            save_reference(tensors, path, {"made by": "test/parity/methods/gradients.py", "torch": torch.__version__})


if __name__ == "__main__":
    models = everything()
    options, names = ([arg for arg in sys.argv[1:] if arg.startswith("--") == is_option] for is_option in (True, False))
    for asked in names or models:
        write(asked, models[asked], only_missing="--missing" in options)
