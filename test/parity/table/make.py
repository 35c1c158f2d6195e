"""Exports the archives of the parity table and runs every peer's own code on them.

Usage: nice -n 10 python test/parity/table/make.py SCRATCH FAMILY --models NAME... --peers FOLDER [--xplique PYTHON]

FAMILY is archives, cam, attention, flow, score, gradients, xplique or relevance. SCRATCH/MODEL/model.pt and input.npy
are what the others are about; they write SCRATCH/MODEL/FAMILY.safetensors (see found.py). FOLDER holds checkouts
OWNER+NAME/repo of the repositories that attention_peers.py names, of idiap/fullgrad-saliency and of
vaynexie/CausalX-ViT. PYTHON has xplique 2.0.2 and TensorFlow, for `cam`; for `xplique` this interpreter needs them.
`--double` runs a family in float64, as FAMILY-float64.safetensors.
"""

import argparse
import json
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

from subjects import CASES, Case
import numpy as np
import torch
from reference_file import save_reference
from torch import Tensor

MODELS = Path(__file__).parents[3] / "models"


def export(case: Case, folder: Path) -> None:
    """The archive as a user would make it, traced at batch 1 with another input than the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    if case.is_full_size:
        example = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            archive = torch.jit.trace(case.model, example)
            difference = (archive(case.images) - case.model(case.images)).abs().max().item()
        archive.save(str(folder / "model.pt"))
    else:
        archive = torch.jit.load(str(MODELS / f"{case.name}.pt"))
        (folder / "model.pt").write_bytes((MODELS / f"{case.name}.pt").read_bytes())
        with torch.no_grad():
            difference = (archive(case.images) - case.model(case.images)).abs().max().item()
    assert difference < 1e-4, difference
    np.save(folder / "input.npy", case.images.numpy())
    with torch.no_grad():
        logits = case.model(case.images)
    (folder / "case.json").write_text(
        json.dumps({"targets": case.targets, "logits": [logits[i, t].item() for i, t in enumerate(case.targets)]})
    )
    print(
        case.name,
        tuple(case.images.shape),
        "targets",
        case.targets,
        "logits",
        logits.std().item(),
        f"archive {difference:.1e}",
        flush=True,
    )


def checkout(peers: Path, name: str, *paths: str) -> str:
    """A work tree of a repository that is there as a git directory, or of parts of it."""
    folder = tempfile.mkdtemp()
    archive = subprocess.run(
        ["git", "-C", str(peers / name / "repo"), "archive", "HEAD", *paths], capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    return folder


def run(family: str, case: Case, asked: argparse.Namespace) -> dict[str, Tensor] | None:
    peers = asked.peers
    if family == "cam":
        import of_cam

        return of_cam.maps(case, checkout(peers, "idiap+fullgrad-saliency"), asked.xplique)
    if family in ("attention", "flow", "relevance") and case.form != "tokens":
        return None
    if family in ("attention", "flow"):
        import of_attention
        from attention_peers import Peers

        return (of_attention.maps if family == "attention" else of_attention.flow)(case, Peers(peers))
    if family in ("score", "gradients", "xplique"):
        case = case.first_image()
    if family == "score":
        import of_score
        from score_peers import load_vit_cx

        return of_score.maps(case, load_vit_cx(Path(checkout(peers, "vaynexie+CausalX-ViT", "ViT_CX"))))
    if family == "xplique" and asked.double:
        import in_double

        return in_double.maps(case)
    if family in ("gradients", "xplique"):
        import of_gradients

        return of_gradients.maps(
            case, (of_gradients.by_xplique if family == "xplique" else of_gradients.by_installed)(case)
        )
    if family == "relevance":
        import of_relevance

        return of_relevance.maps(case, peers)
    raise SystemExit(f"There is no family {family}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("family")
    parser.add_argument("--models", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--xplique")
    parser.add_argument("--double", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for name in asked.models:
        start = time.monotonic()
        case, folder = CASES[name](), asked.scratch / name
        if asked.family == "archives":
            export(case, folder)
            continue
        found = run(asked.family, case.double() if asked.double else case, asked)
        if found is None:
            continue
        suffix = "-float64" if asked.double else ""
        save_reference(found, folder / f"{asked.family}{suffix}.safetensors", {"model": name})
        print(name, asked.family, len(found), f"maps in {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
