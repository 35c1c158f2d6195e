"""Writes cam-NAME.safetensors, what other people's code makes of the CAM family, and cam-hand.pt.

Usage: python test/parity/methods/cam.py --fullgrad FOLDER --xplique PYTHON [NAME...]

FOLDER is a checkout of github.com/idiap/fullgrad-saliency; PYTHON an interpreter with xplique 2.0.2 and TensorFlow. The
others run here: pip install grad-cam==1.5.7 torchcam==0.5.0 captum==0.9.0 scikit-learn (and test/parity/README.md's).

A tensor's name is the peer (or `formula`, ours in float64), and as JSON the options by which sightline gives the same
map; the tensor holds [images, h, w] at the layer's grid, before any scaling, or with `every` each so-manieth row and
column of the map of image size, scaled to [0, 1]. `targets` holds one class per image, `pictures` their numbers in
models/eval.
"""

import argparse
import json
import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).parent))

import cam_formulas as formulas
import cam_peers as peers
import torch
from cam_models import PICTURES, SUBJECTS, Subject
from cam_hand import save_hand
from reference_file import save_reference
from torch import Tensor

HERE = Path(__file__).parent
GRADED = {
    "grad-cam": "GradCAM",
    "hires-cam": "HiResCAM",
    "elementwise-grad-cam": "GradCAMElementWise",
    "layer-cam": "LayerCAM",
    "xgrad-cam": "XGradCAM",
    "eigen-grad-cam": "EigenGradCAM",
}
UNGRADED = {"eigen-cam": "EigenCAM", "kpca-cam": "KPCA_CAM"}
VERSIONS = {name: version(name) for name in ("torch", "grad-cam", "torchcam", "captum", "scikit-learn", "numpy")}
PIXELS = 28  # rows and columns kept of a map of image size


class Found:
    """The maps of one model."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def add(self, peer: str, method: str, maps: Tensor, **options) -> None:
        name = f"{peer} {json.dumps({'method': method} | options)}"
        assert name not in self.tensors and maps.isfinite().all(), name
        if not all(m.max() - m.min() > 1e-4 * m.abs().max() > 0 for m in maps):
            print("left out, since flat for one of the images:", name)
            return
        self.tensors[name] = maps.detach().float().clone().contiguous()


def of_layer(found: Found, subject: Subject, layer: str, xplique: str) -> None:
    pgc = lambda cls, **how: peers.by_pytorch_grad_cam(cls, subject, layer, **how)  # noqa: E731
    activations, gradients = peers.reading(subject, layer)

    for method, cls in (GRADED | UNGRADED).items():
        found.add("pytorch-grad-cam", method, pgc(cls), layer=layer)
    for method in ("grad-cam", "hires-cam", "layer-cam"):
        found.add("pytorch-grad-cam", method, pgc(GRADED[method], eigen=True), layer=layer, eigenSmoothing=True)
    found.add("pytorch-grad-cam", "grad-cam++", pgc("GradCAMPlusPlus"), layer=layer, compat="pytorch-grad-cam")
    found.add("pytorch-grad-cam", "xgrad-cam", pgc("XGradCAM"), layer=layer, compat="pytorch-grad-cam")
    found.add("pytorch-grad-cam", "fem", pgc("FEM"), layer=layer, compat="pytorch-grad-cam")
    found.add(
        "pytorch-grad-cam", "random-cam", peers.random_by_pytorch_grad_cam(subject, layer, 3), layer=layer, seed=3
    )
    found.add(
        "pytorch-grad-cam",
        "finer-cam",
        peers.finer_by_pytorch_grad_cam(subject, layer),
        layer=layer,
        compat="pytorch-grad-cam",
    )
    found.add(
        "pytorch-grad-cam",
        "finer-cam",
        peers.finer_by_pytorch_grad_cam(subject, layer, "GradCAMPlusPlus"),
        layer=layer,
        base="grad-cam++",
        compat="pytorch-grad-cam",
    )

    found.add("torch-cam", "grad-cam", peers.by_torch_cam("GradCAM", subject, layer), layer=layer)
    found.add("torch-cam", "layer-cam", peers.by_torch_cam("LayerCAM", subject, layer), layer=layer)
    found.add(
        "torch-cam", "grad-cam++", peers.by_torch_cam("GradCAMpp", subject, layer), layer=layer, compat="torch-cam"
    )
    found.add("torch-cam", "xgrad-cam", peers.by_torch_cam("XGradCAM", subject, layer), layer=layer, compat="torch-cam")
    found.add("torch-cam", "finer-cam", peers.finer_by_torch_cam(subject, layer), layer=layer)
    found.add(
        "torch-cam",
        "finer-cam",
        peers.finer_by_torch_cam(subject, layer, "LayerCAM", gamma=1.0, num_references=2),
        layer=layer,
        base="layer-cam",
        strength=1,
        references=2,
    )
    found.add(
        "torch-cam",
        "finer-cam",
        peers.finer_by_torch_cam(subject, layer, "GradCAMpp"),
        layer=layer,
        base="grad-cam++",
        compat="torch-cam",
    )

    found.add("formula", "grad-cam++", formulas.plus_plus(activations, gradients), layer=layer)
    theirs = peers.by_xplique(xplique, activations, gradients)
    found.add("xplique", "grad-cam++", theirs["grad-cam++"], layer=layer, compat="xplique")
    found.add("xplique", "fem", theirs["fem"], layer=layer)

    for utility, target, scored in (("rest", "rest", formulas.rest), ("score", "logit", formulas.plain)):
        options = {"layer": layer} | ({"utility": "score"} if utility == "score" else {})
        if subject.reshape is None:
            found.add("pytorch-grad-cam", "shapley-cam", pgc("ShapleyCAM", target=target), **options)
        else:
            found.add("formula", "shapley-cam", formulas.shapley(subject, layer, scored), **options)
    if subject.is_cnn:
        found.add("captum", "grad-cam", peers.by_captum(subject, layer), layer=layer, compat="captum")


def of_model(subject: Subject, fullgrad: str, xplique: str) -> dict[str, Tensor]:
    found = Found()
    for layer in subject.layers:
        of_layer(found, subject, layer, xplique)
    if subject.head is not None:
        found.add("torch-cam", "cam", peers.cam_by_torch_cam(subject, subject.layers[0]))
    if subject.is_cnn:
        every = max(1, subject.images.shape[-2] // PIXELS)
        sampled = lambda maps: maps[:, ::every, ::every]  # noqa: E731
        found.add(
            "pytorch-grad-cam",
            "full-grad",
            sampled(peers.full_grad_by_pytorch_grad_cam(subject)),
            compat="pytorch-grad-cam",
            every=every,
        )
        maps = peers.full_grad_by_authors(subject, fullgrad)
        low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
        found.add("authors", "full-grad", sampled((maps - low) / (high - low)), every=every)
    found.tensors["targets"] = torch.tensor(subject.targets)
    if subject.name.endswith("-shapes"):
        found.tensors["pictures"] = torch.tensor(PICTURES)
    return found.tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fullgrad", required=True)
    parser.add_argument("--xplique", required=True)
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args()
    torch.set_num_threads(1)  # one thread rounds in one way
    if (
        not asked.names or "hand" in asked.names
    ):  # first: TorchScript numbers its classes, and that shows in the archive
        save_hand(HERE, VERSIONS)
    for make in SUBJECTS:
        subject = make()
        if asked.names and subject.name not in asked.names:
            continue
        path = HERE / f"cam-{subject.name}.safetensors"
        save_reference(of_model(subject, asked.fullgrad, asked.xplique), path, VERSIONS)
        print(subject.name, path.stat().st_size // 1024, "KB", flush=True)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # scripting writes out sets, whose order depends on it
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})
    main()
