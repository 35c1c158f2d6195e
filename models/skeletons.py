"""Makes, checks and fills the skeletons: archives of known architectures without their weights.

    python models/skeletons.py                        # writes models/skeletons/*.pt and *.json
    python models/skeletons.py --only test_vit
    python models/skeletons.py --check                # exports afresh, compares with what is shipped; 1 on a difference
    python models/skeletons.py --weights test_vit --seed 1 --classes 7 --out seeded.safetensors

A skeleton is traced on CPU from the library's own model. Before it is written it is loaded again, weights from a seed
are set by name, also those of another number of classes and, where the architecture takes one, of another image size,
and the logits of three images must equal the eager model's to the bit.

`--weights` writes a checkpoint as it would come from the hub, beside it (`.config.json`, `.reference.safetensors`) its
configuration and one seeded image with the source model's logits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from architectures import ALIKE, ARCHITECTURES, Architecture
from flops import count_flops
from seeded_values import seed_model, seeded_tensor
from skeleton_archive import empty_weights, read_members, share_tables, skeleton_members, write_archive

FOLDER = Path(__file__).resolve().parent / "skeletons"
TRACED_BATCH, CHECKED_BATCH = 2, 3
SEED, OTHER_CLASSES = 1, 7
# Part of the state dict, read by no operator in inference; checkpoints may lack them.
UNUSED = ("num_batches_tracked", "mask_token")


class SkeletonError(Exception):
    """A skeleton that is not what it should be: one sentence."""


def images(count: int, side: int, seed: int = SEED) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def logits_of(output: Any) -> Tensor:
    return output["logits"] if isinstance(output, dict) else output


def export(model: nn.Module, side: int) -> dict[str, bytes]:
    """The archive's records. Takes the weights of `model` away."""
    empty_weights(model)
    share_tables(model)
    with warnings.catch_warnings(), torch.set_grad_enabled(True):
        warnings.simplefilter("ignore")  # the tracer's hints on Python branches; the check of the logits is the proof
        # strict=False lets the output be a dict, as transformers' is
        traced = torch.jit.trace(model, images(TRACED_BATCH, side), check_trace=False, strict=False)
    return skeleton_members(traced)


def refill(model: nn.Module, seed: int) -> None:
    for name, tensor in model.state_dict(keep_vars=True).items():
        tensor.data = seeded_tensor(name, torch.zeros((), dtype=tensor.dtype).expand(tensor.shape), seed).contiguous()


@torch.no_grad()
def compare(archive: bytes, model: nn.Module, side: int, what: str) -> None:
    """Sets the weights of `model` in the archive by name, and compares the logits to the bit."""
    with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        file.write(archive)
        file.flush()
        skeleton = torch.jit.load(file.name)
    weights = model.state_dict()
    places = skeleton.state_dict(keep_vars=True)
    # Buffers that are no part of a checkpoint, such as Swin's masks, keep the archive's values.
    kept = {name for name, _ in model.named_buffers()} - weights.keys()
    if places.keys() != weights.keys() | kept:
        raise SkeletonError(
            f"{what}: the archive's tensors are not the model's: {sorted(places.keys() ^ weights.keys() ^ kept)[:3]}"
        )
    for name, tensor in weights.items():
        places[name].data = tensor
    batch = images(CHECKED_BATCH, side, SEED + 1)
    wanted, found = logits_of(model(batch)), logits_of(skeleton(batch))
    if not torch.isfinite(wanted).all() or float(wanted.std()) < 1e-3:
        raise SkeletonError(f"{what}: the seeded model's own logits say nothing: {wanted.flatten()[:3].tolist()}")
    if not torch.equal(wanted, found):
        raise SkeletonError(
            f"{what}: logits differ from the eager model's by up to {float((wanted - found).abs().max()):.1e}"
        )


def symbolic(usual: nn.Module, other: nn.Module) -> dict[str, list[int | str]]:
    """Shapes by name. A length that follows the number of classes is "classes", one that follows the image "tokens"."""
    shapes: dict[str, list[int | str]] = {}
    others = other.state_dict()
    for name, tensor in usual.state_dict().items():
        if name.rpartition(".")[2] in UNUSED:
            continue
        pairs = list(zip(tensor.shape, others[name].shape, strict=True))
        shapes[name] = [a if a == b else "classes" if (a, b) == (1000, OTHER_CLASSES) else "tokens" for a, b in pairs]
    return shapes


def norm_epsilon(model: nn.Module) -> float | None:
    found = {module.eps for module in model.modules() if isinstance(module, nn.LayerNorm)}
    return next(iter(found)) if len(found) == 1 else None


def target_layer(model: nn.Module) -> str:
    """What CNN methods explain by default: the last stage or convolution, or the last block's first norm."""
    names = [name for name, _ in model.named_modules()]
    for wanted in ("layer4", "stages", "last_conv"):
        if wanted in names:
            return wanted
    if "layers.3.blocks.1.norm1" in names:  # Swin: the last norm, before the mean
        return "norm"
    return [name for name in names if name.endswith(".norm1")][-1]


def make(architecture: Architecture) -> tuple[dict[str, bytes], bytes, dict[str, Any]]:
    """The records, the archive and its card, verified."""
    usual = architecture.build()
    members = export(usual, architecture.size)
    archive = write_archive(members)
    refill(usual, SEED)
    compare(archive, usual, architecture.size, architecture.name)
    flops = count_flops(usual, architecture.size)
    parameters = sum(tensor.numel() for tensor in usual.parameters())
    epsilon = norm_epsilon(usual)
    target = architecture.target or target_layer(usual)
    if target not in dict(usual.named_modules()):
        raise SkeletonError(f"{architecture.name} has no module {target}")
    empty_weights(usual)  # of a large model, before the other is made
    other = seed_model(architecture.build(OTHER_CLASSES, architecture.other_size), SEED)
    other_side = architecture.other_size or architecture.size
    if architecture.embedded_size:
        other_side += 28  # other than the embedding's own, so that its interpolation is checked
    compare(archive, other, other_side, f"{architecture.name} with {OTHER_CLASSES} classes at {other_side} px")
    card: dict[str, Any] = {
        "architecture": architecture.name,
        "source": architecture.source,
        "sha256": hashlib.sha256(archive).hexdigest(),
        "size": architecture.size,
        **({"fixedSize": True} if architecture.other_size is None else {}),
        **({"alike": list(ALIKE[architecture.name])} if architecture.name in ALIKE else {}),
        "targetLayer": target,
        "parameters": parameters,
        "flops": flops,
    }
    if epsilon is not None:
        card["layerNormEps"] = epsilon
    card["unused"] = [name for name in usual.state_dict() if name.rpartition(".")[2] in UNUSED]
    card["tensors"] = symbolic(usual, other)
    return members, archive, card


def card_text(card: dict[str, Any]) -> str:
    """JSON with one tensor a line: a card is read by people too."""
    tensors = ",\n".join(f"    {json.dumps(name)}: {json.dumps(shape)}" for name, shape in card["tensors"].items())
    head = {key: value for key, value in card.items() if key not in ("tensors", "unused")}
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    lines.append(f'  "unused": {json.dumps(card["unused"])}')
    lines.append(f'  "tensors": {{\n{tensors}\n  }}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def differences(architecture: Architecture) -> list[str]:
    """How what is shipped differs from a fresh export. Compressors may differ from machine to machine: not the bytes of
    the zip but of the records are compared."""
    members, _, card = make(architecture)
    path = FOLDER / f"{architecture.name}.pt"
    card_path = path.with_suffix(".json")
    missing = [each for each in (path, card_path) if not each.is_file()]
    if missing:
        return [f"{each} is missing" for each in missing]
    found: list[str] = []
    content = path.read_bytes()
    try:
        shipped = read_members(content)
    except zipfile.BadZipFile as error:
        return [f"{path} is damaged: {error}"]
    if list(shipped) != list(members):
        found.append(f"{path}: its records are {sorted(shipped)}, a fresh export's {sorted(members)}")
    found += [f"{path}: {name} differs" for name in members if name in shipped and shipped[name] != members[name]]
    shipped_card = json.loads(card_path.read_text())
    if shipped_card.get("sha256") != hashlib.sha256(content).hexdigest():
        found.append(f"{card_path}: sha256 is not that of {path.name}")
    for key in {*card, *shipped_card} - {"sha256"}:
        if card.get(key) != shipped_card.get(key):
            found.append(f"{card_path}: {key} differs")
    return found


def selected(only: list[str] | None) -> list[Architecture]:
    unknown = [name for name in only or [] if name not in ARCHITECTURES]
    if unknown:
        raise SkeletonError(f"There is no architecture {unknown[0]!r}; there are {', '.join(ARCHITECTURES)}.")
    return [ARCHITECTURES[name] for name in only or ARCHITECTURES]


def write_all(only: list[str] | None) -> None:
    FOLDER.mkdir(exist_ok=True)
    for architecture in selected(only):
        start = time.perf_counter()
        _, archive, card = make(architecture)
        (FOLDER / f"{architecture.name}.pt").write_bytes(archive)
        (FOLDER / f"{architecture.name}.json").write_text(card_text(card))
        print(
            f"{architecture.name}: {len(archive)} bytes, {card['parameters']} parameters, "
            f"{time.perf_counter() - start:.1f} s",
            flush=True,
        )


def check_all(only: list[str] | None) -> int:
    import catalogue  # it reads the cards that are written here

    wrong: list[str] = []
    start = time.perf_counter()
    for architecture in selected(only):
        try:
            found = differences(architecture)
        except SkeletonError as error:
            found = [str(error)]
        wrong += found
        print(f"{architecture.name}: {'; '.join(found) or 'as a fresh export, logits to the bit'}", flush=True)
    if only is None:
        known = {f"{name}{suffix}" for name in ARCHITECTURES for suffix in (".pt", ".json")}
        wrong += [f"{path} is no skeleton" for path in sorted(FOLDER.iterdir()) if path.name not in known]
        wrong += catalogue.differences()
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{'no' if not wrong else len(wrong)} differences, {time.perf_counter() - start:.0f} s")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare a fresh export with what is shipped")
    what.add_argument("--weights", metavar="ARCH", help="write a checkpoint of seeded weights")
    parser.add_argument("--only", nargs="+", metavar="ARCH", help="these architectures only")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--size", type=int, help="px, the image side, where the architecture takes another")
    parser.add_argument(
        "--naming", choices=("timm", "torchvision", "huggingface", "sightline"), help="default: the source's own"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.safetensors")
    args = parser.parse_args()
    if (args.weights is None) != (args.out is None):
        parser.error("--weights and --out go together")
    try:
        if args.check:
            return check_all(args.only)
        if args.weights:
            from seeded_checkpoints import NoSuchNaming, write_checkpoint

            (architecture,) = selected([args.weights])
            try:
                print(write_checkpoint(architecture, args.naming, args.seed, args.classes, args.size, args.out))
            except NoSuchNaming as error:
                raise SkeletonError(str(error)) from error
        else:
            write_all(args.only)
    except SkeletonError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
