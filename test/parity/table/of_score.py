"""Methods that run the model on masked or disturbed inputs, by pytorch-grad-cam, torch-cam and ViT-CX's authors, with
shared noise.

A model of full size is explained at a layer of few channels where there is one, since a run for each of 2048 takes
hours.
"""

import score_peers as peers
import torch
from found import Found
from subjects import Case
from torch import Tensor

MOST_CHANNELS = 256
SAMPLES, COMPONENTS = 3, 4


def each(case: Case, layer: str, peer, *rest, **settings) -> Tensor:
    subject = case.for_score(layer)
    return torch.stack(
        [peer(*rest, subject, image, target, **settings) for image, target in zip(subject.images, subject.targets)]
    )


def maps(case: Case, vit_cx) -> dict[str, Tensor]:
    found, last, narrow = Found(case.name), case.layer, case.narrow
    feature = case.for_score(narrow).features(case.images[:1])
    channels = feature.shape[1 if case.form == "cnn" else -1]
    for level in (0.3,):
        settings = dict(samples=SAMPLES, level=level)
        found.add(
            "torch-cam",
            "smooth-grad-cam++",
            each(case, last, peers.torch_cam_smooth_grad_cam_plus_plus, **settings),
            layer=last,
            samples=SAMPLES,
            noise=level,
            compat="torch-cam",
        )
    concepts = torch.stack([peers.factorization(case.for_score(last), image, COMPONENTS)[0] for image in case.images])
    found.add("pytorch-grad-cam", "deep-feature-factorization", concepts, layer=last, components=COMPONENTS)
    if case.form == "tokens":
        causal = [
            peers.vit_cx(vit_cx, case.for_score(last), image, target)
            for image, target in zip(case.images, case.targets)
        ]
        print(f"  ViT-CX: {[count for _, count in causal]} masks", flush=True)
        found.add("ViT-CX", "vit-cx", torch.stack([image_map for image_map, _ in causal]), layer=last)
    if channels > MOST_CHANNELS:
        print(f"{case.name}: methods with a run for each of {channels} channels are left out", flush=True)
        return found.tensors
    at = dict(layer=narrow)
    found.add(
        "pytorch-grad-cam",
        "ablation-cam",
        each(case, narrow, peers.grad_cam_ablation_cam),
        **at,
        compat="pytorch-grad-cam",
    )
    found.add(
        "pytorch-grad-cam", "score-cam", each(case, narrow, peers.grad_cam_score_cam), **at, compat="pytorch-grad-cam"
    )
    found.add("torch-cam", "score-cam", each(case, narrow, peers.torch_cam_score_cam), **at, compat="torch-cam")
    if channels <= 192 or not case.is_full_size:
        found.add(
            "torch-cam",
            "ss-cam",
            each(case, narrow, peers.torch_cam_ss_cam, samples=2, level=0.5),
            **at,
            samples=2,
            noise=0.5,
            compat="torch-cam",
        )
        found.add(
            "torch-cam",
            "is-cam",
            each(case, narrow, peers.torch_cam_is_cam, steps=2),
            **at,
            steps=2,
            compat="torch-cam",
        )
    return found.tensors
