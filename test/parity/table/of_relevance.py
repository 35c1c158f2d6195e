"""Transformer attribution by its authors, AttnLRP and CP-LRP by LXT with zennit's gamma rule."""

import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from found import Found
from relevance_chefer import Chefer
from safetensors.torch import load_file
from subjects import Case
from torch import Tensor

PEER = "Transformer-Explainability"


def maps(case: Case, peers: Path) -> dict[str, Tensor]:
    found, subject, chefer = Found(case.name), case.for_attention(), Chefer(peers)
    whole = chefer.whole(subject)
    for start, options in ((0, {}), (1, {"preset": "chefer-2021-evaluation"})):
        rows = [
            chefer.whole_map(whole, image[None], target, start)[0].unflatten(-1, subject.grid)
            for image, target in zip(subject.images, subject.targets)
        ]
        found.add(PEER, "transformer-attribution", torch.stack(rows), **options)
    del whole
    if case.images.dtype == torch.float64:
        return found.tensors
    for rule in ("attn-lrp", "cp-lrp"):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/maps.safetensors"
            subprocess.run(
                [sys.executable, str(Path(__file__).with_name("lxt_maps.py")), rule, case.name, path], check=True
            )
            for gammas, value in load_file(path).items():
                found.add("LXT", rule, value, **({"linearGamma": 0, "convGamma": 0} if gammas == "plain" else {}))
    return found.tensors
