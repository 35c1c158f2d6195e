"""Gradients and perturbation by captum, PAIR's saliency, pytorch-grad-cam and xplique, with shared noise. Counts are
smaller on models of full size."""

from collections.abc import Callable

import gradients_peers as peers
from found import Found
from gradients_models import Explained
from gradients_peers import largest, total, total_of_magnitudes
from subjects import Case
from torch import Tensor

Entry = tuple[str, str, Callable[[Explained], Tensor], dict]


def by_installed(case: Case) -> list[Entry]:
    steps, samples, window = (10, 5, (56, 28)) if case.is_full_size else (20, 10, (32, 16))
    entries: list[Entry] = [
        ("captum", "gradient", peers.captum("Saliency", largest), {}),
        ("captum", "gradient", peers.captum("Saliency", total, abs=False), {"channels": "sum"}),
        ("captum", "input-x-gradient", peers.captum("InputXGradient"), {}),
        ("captum", "smooth-grad", peers.captum_tunnel("Saliency", nt_type="smoothgrad"), {"compat": "captum"}),
        ("captum", "var-grad", peers.captum_tunnel("Saliency", nt_type="vargrad"), {"compat": "captum"}),
        (
            "captum",
            "integrated-gradients",
            peers.captum("IntegratedGradients", n_steps=steps, internal_batch_size=10),
            {"steps": steps},
        ),
        (
            "captum",
            "integrated-gradients",
            peers.captum("IntegratedGradients", method="riemann_trapezoid", n_steps=steps, internal_batch_size=10),
            {"steps": steps, "quadrature": "trapezoid", "compat": "captum"},
        ),
        (
            "captum",
            "occlusion",
            peers.captum_occlusion((window[0],) * 2, (window[1],) * 2),
            {"window": window[0], "stride": window[1]},
        ),
        ("PAIR saliency", "gradient", peers.pair("GradientSaliency", total_of_magnitudes), {"channels": "sum-abs"}),
        (
            "PAIR saliency",
            "smooth-grad",
            peers.pair("GradientSaliency", total_of_magnitudes, smoothed=dict(nsamples=samples)),
            {"compat": "pair", "samples": samples},
        ),
        (
            "PAIR saliency",
            "integrated-gradients",
            peers.pair("IntegratedGradients", total, x_steps=steps),
            {"compat": "pair", "steps": steps},
        ),
    ]
    if case.form == "cnn":
        entries += [
            ("captum", "guided-backprop", peers.captum("GuidedBackprop", largest), {}),
            ("captum", "deconvnet", peers.captum("Deconvolution", largest), {}),
            (
                "captum",
                "guided-grad-cam",
                peers.captum_guided_grad_cam("layer4", largest),
                {"layer": "layer4", "compat": "captum"},
            ),
            (
                "captum",
                "guided-grad-cam",
                peers.captum_guided_grad_cam("layer4", largest, interpolate_mode="bilinear"),
                {"layer": "layer4"},
            ),
            ("pytorch-grad-cam", "guided-backprop", peers.pytorch_grad_cam_guided(largest), {}),
            (
                "pytorch-grad-cam",
                "guided-grad-cam",
                peers.pytorch_grad_cam_product("layer4", largest),
                {"layer": "layer4", "compat": "pytorch-grad-cam"},
            ),
        ]
    # A gradient of it costs 100 GFLOP.
    few = (("captum", "smooth-grad"), ("captum", "input-x-gradient"))
    return [entry for entry in entries if not is_slow(case) or entry[1] == "gradient" or entry[:2] in few]


def is_slow(case: Case) -> bool:
    return case.name.startswith("vit_base")


def by_xplique(case: Case) -> list[Entry]:
    steps, samples, masks = (10, 5, 20) if case.is_full_size else (20, 10, 100)
    return [
        ("xplique", "gradient", peers.xplique("Saliency"), {}),
        ("xplique", "input-x-gradient", peers.xplique("GradientInput", reducer="mean"), {"channels": "mean"}),
        (
            "xplique",
            "integrated-gradients",
            peers.xplique("IntegratedGradients", steps=steps, batch_size=steps),
            {"compat": "xplique", "steps": steps},
        ),
        (
            "xplique",
            "smooth-grad",
            peers.xplique("SmoothGrad", nb_samples=samples, batch_size=samples),
            {"compat": "xplique", "samples": samples},
        ),
        (
            "xplique",
            "var-grad",
            peers.xplique("VarGrad", nb_samples=samples, batch_size=samples),
            {"compat": "xplique", "samples": samples},
        ),
        ("xplique", "rise", peers.xplique_rise((7, 7), nb_samples=masks), {"compat": "xplique", "masks": masks}),
    ]


def maps(case: Case, entries: list[Entry]) -> dict[str, Tensor]:
    found, explained = Found(case.name), case.for_gradients()
    for peer, method, compute, options in entries:
        try:
            found.add(peer, method, compute(explained), **options)
        except (RuntimeError, ModuleNotFoundError) as error:  # the other peers' maps are not to be lost with one's
            print(f"{case.name} {peer} {method} {options} FAILED: {error}", flush=True)
    return found.tensors
