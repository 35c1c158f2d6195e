"""Writes relevance-NAME.safetensors: transformer attribution, AttnLRP and CP-LRP by the peers' own code.

Usage: python test/parity/methods/relevance.py PEERS [NAME...]

PEERS holds a checkout of Transformer-Explainability (and what attention_subjects.py needs is in the repository); lxt,
zennit and einops are installed. One image at a time, as the peers' code wants it.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
import warnings
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

warnings.filterwarnings("ignore")

from attention_subjects import HERE, Subject, archived, shipped
import torch
from safetensors.torch import load_file
from torch import Tensor

from reference_file import save_reference
from relevance_chefer import REPOSITORY, Chefer, Propagated, tokens_of

NAMES = (
    "torchvision-vit-traced",
    "timm-vit-fused-traced",
    "timm-deit-distilled-traced",
    "timm-dinov2-registers-traced",
    "timm-vit-average-traced",
    "vit-tiny-shapes",
)


def transformer_attribution(chefer: Chefer, subject: Subject) -> tuple[dict[str, Tensor], dict[str, float]]:
    model, tokens = Propagated(chefer, subject), tokens_of(subject)
    maps: dict[str, list[Tensor]] = {}
    sums = []
    for image, target in zip(tokens, subject.targets):
        seen = model.explain(image[None], target)
        for block, relevance in enumerate(seen.relevance):
            maps.setdefault(f"relevance.block{block}", []).append(subject.row(relevance.mean(dim=1))[0])
        for start in (0, 1):
            maps.setdefault(f"transformer-attribution.start{start}", []).append(
                subject.row(model.joint(seen.relevance, seen.gradients, start))[0]
            )
        sums.append(seen.bottom.sum().item())
    found = {key: torch.stack(value) for key, value in maps.items()}
    checks = {"relevance that reaches the first block": min(sums)}
    if subject.prefix == 1 and not hasattr(getattr(subject.blocks[0], "ls1", None), "gamma"):
        whole = chefer.whole(subject)
        for start in (0, 1):
            maps_of_whole = torch.stack(
                [
                    chefer.whole_map(whole, image[None], target, start)[0].unflatten(-1, subject.grid)
                    for image, target in zip(subject.images, subject.targets)
                ]
            )
            checks[f"the whole peer, start {start}"] = (
                (maps_of_whole - found[f"transformer-attribution.start{start}"]).abs().max().item()
            )
            found[f"transformer-attribution.start{start}"] = maps_of_whole
    return found, checks


def in_double(chefer: Chefer, subject: Subject) -> dict[str, Tensor]:
    return transformer_attribution(
        chefer, replace(subject, model=copy.deepcopy(subject.model).double(), images=subject.images.double())
    )[0]


def rounding(chefer: Chefer, subject: Subject, exact: dict[str, Tensor]) -> dict[str, Tensor]:
    """How far the peer's own float32 maps lie from its float64 ones, of their range: [B].

    Relevance is divided by values near zero, so that what one run makes of its rounding is chance: the largest of
    eight, the pixels moved by what float32 leaves open (2^-23 of themselves).
    """
    generator = torch.Generator().manual_seed(0)
    largest = {key: torch.zeros(len(value), dtype=torch.float64) for key, value in exact.items()}
    for _ in range(8):
        noise = 2 * torch.rand(subject.images.shape, generator=generator) - 1
        maps = transformer_attribution(chefer, replace(subject, images=subject.images * (1 + 2**-23 * noise)))[0]
        for key, value in exact.items():
            largest[key] = torch.maximum(largest[key], (unit(maps[key].double()) - unit(value)).abs().amax(dim=(1, 2)))
    return largest


def unit(maps: Tensor) -> Tensor:
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low)


def by_lxt(names: list[str]) -> dict[str, Tensor]:
    found = {}
    for rule in ("attn-lrp", "cp-lrp", "cp-lrp-torchvision"):
        chosen = [
            name
            for name in names
            if name.startswith("torchvision") == (rule == "cp-lrp-torchvision") or (rule == "attn-lrp")
        ]
        if not chosen:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/maps.safetensors"
            subprocess.run([sys.executable, str(HERE / "relevance_lxt.py"), rule, path, *chosen], check=True)
            for key, value in load_file(path).items():
                name, _, gammas = key.partition("/")
                found[f"{name}/{rule.removesuffix('-torchvision')}.{gammas}"] = value
    return found


def make(name: str, chefer: Chefer, pixels: dict[str, Tensor]) -> None:
    subject = shipped() if name == "vit-tiny-shapes" else archived(name)
    _, checks = transformer_attribution(chefer, subject)
    exact = in_double(chefer, subject)
    rounded = rounding(chefer, subject, exact)
    maps = {key: value.float() for key, value in exact.items()}
    for key, value in pixels.items():
        if not key.startswith(f"{name}/"):
            continue
        key = key.partition("/")[2]
        # Of the large images every eighth pixel, and the sums over patches.
        height, width = subject.grid
        maps[f"{key}.patches"] = value.unflatten(2, (width, -1)).unflatten(1, (height, -1)).sum(dim=(2, 4))
        if not key.endswith("strong"):
            maps[f"{key}.pixels"] = value[:, ::8, ::8] if value.shape[-1] > 64 else value
    tensors = {f"maps.{key}": value.contiguous() for key, value in maps.items()}
    assert all(torch.isfinite(value).all() for value in tensors.values()), name
    tensors |= {f"rounding.{key}": value.float() for key, value in rounded.items()}
    tensors["targets"] = torch.tensor(subject.targets)
    if name != "vit-tiny-shapes":
        tensors["input"] = subject.images
    metadata = {
        "note": subject.note,
        "versions": json.dumps({package: version(package) for package in ("torch", "lxt", "zennit")}),
        "commits": json.dumps({REPOSITORY: chefer.commit}),
        "checks": json.dumps(checks),
    }
    save_reference(tensors, HERE / f"relevance-{name}.safetensors", metadata)
    print(
        name,
        {
            key: f"{value:.1e}"
            for key, value in (checks | {key: value.max().item() for key, value in rounded.items()}).items()
        },
    )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    asked = sys.argv[2:] or list(NAMES)
    peer, by_pixel = Chefer(Path(sys.argv[1])), by_lxt(asked)
    for each in asked:
        make(each, peer, by_pixel)
