"""Writes archives/NAME.pt and references/NAME.safetensors for every export; see README.md.

Usage: python test/parity/make.py [NAME...]
"""

import copy
import json
import os
import re
import sys
import traceback
import warnings
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).parent))

import torchvision_operators  # noqa: F401
import timm
import torch
import torchvision
import transformers
from torch import Tensor

import formulas
from archives_only import ARCHIVES_ONLY
from capture import Capture, gradients, logits_of, run
from exports import CLASSES, DETAIL, EXPORTS, KINDS, Export, Kind, set_fused, to_torchscript
from peers import peer_checks
from reference_file import save_reference
from report import write_report
from seeded_weights import seed_weights
from slim_archive import slim

HERE = Path(__file__).parent
BATCH = 3
LEAST_GAP = 2e-4  # of a discard: engines differ by some 1e-6, so none can pick another entry
VERSIONS = {module.__name__: module.__version__ for module in (torch, torchvision, timm, transformers)}


def channels_first(kind: Kind, tensor: Tensor) -> Tensor:
    """One image's feature as [C, h, w]."""
    return tensor.movedim(-1, 0) if kind.form == "windows" else tensor


def maps_of_image(kind: Kind, model: torch.nn.Module, image: Tensor, target: int) -> tuple[dict[str, Tensor], float]:
    """Every map of one image [3, H, W], alone, and the least gap of its discards."""
    taken = run(model, image[None], kind.form == "windows")
    feature = taken.features[kind.last][0]
    (slope,) = gradients(taken, target, [taken.live[kind.last]])
    if kind.form != "tokens":
        spatial = channels_first(kind, feature)
        assert tuple(spatial.shape[1:]) == kind.grid, (spatial.shape, kind.grid)
        maps = {"grad-cam": formulas.grad_cam(spatial, channels_first(kind, slope[0]))}
        if kind.head:
            maps["cam"] = formulas.cam(spatial, model.get_submodule(kind.head).weight[target])
        return maps, float("inf")
    where = dict(prefix=kind.prefix, grid=kind.grid)
    attention = [a[0].detach() for a in taken.attention]
    slopes = [g[0] for g in gradients(taken, target, taken.attention)]
    maps = formulas.attention_maps(attention, slopes, class_token=kind.class_token, **where)
    maps["grad-cam"] = formulas.grad_cam_tokens(feature, slope[0], **where)
    return maps, formulas.least_gap(attention, slopes)


def reference(
    kind: Kind, brief: bool, taken: Capture, images: Tensor, target: int, maps: Sequence[dict[str, Tensor]]
) -> dict[str, Tensor]:
    tensors = {
        "input": images,
        "logits": taken.logits,
        "target": torch.tensor(target),
        "grid": torch.tensor(kind.grid),
        "prefix": torch.tensor(kind.prefix),
    }
    for path, value in taken.features.items():
        if re.fullmatch(kind.keep, path) and not (brief and DETAIL.search(path)):
            tensors[f"features.{path}"] = value
    projections = () if brief and kind.form == "windows" else ("query", "key", "value")
    for part in ("attention", *projections):
        for block, value in enumerate(getattr(taken, part)):
            tensors[f"{part}.{block}"] = value
    for path, slope in zip(kind.graded, gradients(taken, target, [taken.live[path] for path in kind.graded])):
        tensors[f"gradients.features.{path}"] = slope
    for block, slope in enumerate(gradients(taken, target, taken.attention)):
        tensors[f"gradients.attention.{block}"] = slope
    for name in maps[0]:
        tensors[f"maps.{name}"] = torch.stack([single[name] for single in maps])
    return {name: value.detach().clone().contiguous() for name, value in tensors.items()}


def usable(kind: Kind, maps: Sequence[dict[str, Tensor]], gaps: Sequence[float]) -> bool:
    """Whether no map is flat and no discard is a near tie, so that equality with the reference is well defined."""
    return min(gaps) > LEAST_GAP and all(
        m.max() - m.min() > 1e-3 * m.abs().max() > 0 for single in maps for m in single.values()
    )


def in_child(work: Callable[[], None]) -> None:
    """Runs `work` in a fork: TorchScript numbers its classes through a process's life, and that shows in the
    archive."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001  (whatever it is, the child must end here)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        raise SystemExit("an export failed")


def rounding(kind: Kind, model: torch.nn.Module, images: Tensor, target: int, tensors: dict[str, Tensor]) -> float:
    """How far float32 itself is off: the largest difference to a float64 run, relative to each tensor's largest
    value."""
    exact_model, exact_images = copy.deepcopy(model).double(), images.double()
    exact_maps = [maps_of_image(kind, exact_model, image, target)[0] for image in exact_images]
    exact = reference(
        kind, False, run(exact_model, exact_images, kind.form == "windows"), exact_images, target, exact_maps
    )
    return max(
        ((value - exact[name]).abs().max() / exact[name].abs().max()).item()
        for name, value in tensors.items()
        if value.is_floating_point()
    )


def make(name: str, export: Export) -> dict[str, float]:
    kind = KINDS[export.kind]
    first_seed = zlib.crc32(name.encode()) % 100_000 * 100
    target = zlib.crc32(name.encode()) % CLASSES
    for seed in range(first_seed, first_seed + 100):
        model = seed_weights(kind.build(), seed)
        images = torch.randn(BATCH, 3, *kind.size, generator=torch.Generator().manual_seed(seed + 1))
        maps, gaps = zip(*(maps_of_image(kind, model, image, target) for image in images))
        if usable(kind, maps, gaps):
            break
    else:
        raise SystemExit(f"{name}: no seed gives a usable reference")

    taken = run(model, images, kind.form == "windows")
    tensors = reference(kind, export.brief, taken, images, target, maps)
    differences = peer_checks(kind, model, images, target, tensors)
    differences["float64"] = rounding(kind, model, images, target, tensors)

    set_fused(model, export.fused)
    traced_at = torch.randn(1, 3, *kind.size, generator=torch.Generator().manual_seed(seed + 2))
    path = HERE / "archives" / f"{name}.pt"
    in_child(lambda: to_torchscript(model, export, traced_at).save(str(path)))
    if not export.debug:
        slim(path)
    with torch.no_grad():
        again = logits_of(torch.jit.load(str(path))(images))
    difference = (again - tensors["logits"]).abs().max().item()
    assert difference < 2e-5, f"{name}: the archive gives other logits, by {difference}"
    differences["archive logits"] = difference

    note = "; ".join(
        filter(
            None,
            (
                f"{export.how}{' then frozen' if export.frozen else ''}",
                export.note,
                "attention written out, not fused" if export.fused is False else "",
                f"weights from seed {seed}",
                f"least gap of a discard {min(gaps):.1e}",
            ),
        )
    )
    save_reference(
        tensors,
        HERE / "references" / f"{name}.safetensors",
        {"source": kind.source, "versions": json.dumps(VERSIONS), "note": note},
    )
    return differences


def main(names: list[str]) -> None:
    torch.manual_seed(0)
    for folder in ("archives", "references"):
        (HERE / folder).mkdir(exist_ok=True)
    rows = {}
    for name, export in EXPORTS.items():
        if not names or name in names:
            rows[name] = make(name, export)
            sizes = [
                (HERE / part).stat().st_size // 1024
                for part in (f"archives/{name}.pt", f"references/{name}.safetensors")
            ]
            print(name, sizes, {key: f"{value:.1e}" for key, value in rows[name].items()}, flush=True)
    for name, save in ARCHIVES_ONLY.items():
        if not names or name in names:
            path = HERE / "archives" / f"{name}.pt"
            in_child(partial(save, path))
            slim(path)
            print(name, path.stat().st_size // 1024)
    if not names:
        write_report(HERE / "README.md", rows, VERSIONS)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # scripting writes out sets, whose order depends on it
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})
    torch.set_num_threads(1)  # a fork may not follow OpenMP threads; and one thread rounds in one way
    main(sys.argv[1:])
