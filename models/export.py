"""Exports an image classifier of torchvision, timm or Hugging Face, or a segmenter of torchvision, as a program or an
archive, with its card.

    python models/export.py --library torchvision --model resnet50 --pretrained --format pt2 --out resnet50.pt2
    python models/export.py --library torchvision --model resnet50 --pretrained --out resnet50.pt
    python models/export.py --library timm --model vit_tiny_patch16_224 --seed 1 --mode script --out vit.pt
    python models/export.py --library huggingface --model google/vit-base-patch16-224 --pretrained --out vit-b.pt

`--format pt2` is torch.export, of which no code is ever run, `torchscript` is torch.jit. The model goes in as it is:
no hook, no wrapper, no renamed output. The archive is then loaded again and run at
another batch size; when its outputs are not the source's, it is deleted and the exit code is 1.
The card beside it (same name, .json) takes the preprocessing from the library's own record of the model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchvision_import import import_torchvision

HERE = Path(__file__).resolve().parent
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
TRACED_BATCH, CHECKED_BATCH = 2, 3
TOLERANCE = 1e-5  # of the largest output


class ExportError(Exception):
    """A request that cannot be met: one sentence for the user."""


@dataclass
class Preprocessing:
    """How the library turns a picture into the model's input; sizes in px, mean and std on [0, 1]."""

    width: int
    height: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    resize: str = "shorter-side"
    resize_to: int = 256
    interpolation: str = "bilinear"
    crop: str = "center"

    def card(self) -> dict[str, Any]:
        return {
            "width": self.width,
            "height": self.height,
            "mean": [float(m) for m in self.mean],
            "std": [float(s) for s in self.std],
            "resize": {"mode": self.resize, "size": self.resize_to},
            "interpolation": self.interpolation,
            "crop": self.crop,
        }


@dataclass
class Source:
    model: nn.Module
    preprocessing: Preprocessing
    labels: list[str] | str | None
    origin: str
    license: str
    notes: list[str] = field(default_factory=list)


def imagenet_labels() -> list[str]:
    return json.loads((HERE / "labels" / "imagenet-1k.json").read_text())


def _interpolation(name: str, notes: list[str]) -> str:
    if name in ("bilinear", "bicubic"):
        return name
    notes.append(f"the library resizes by {name}; the card says bicubic")
    return "bicubic"


# ---------------------------------------------------------------- torchvision


def from_torchvision(args: argparse.Namespace) -> Source:
    import_torchvision()
    from torchvision.models import get_model, get_model_weights, list_models
    import torchvision.models as zoo

    is_segmenter = args.model in list_models(module=zoo.segmentation)
    if not is_segmenter and args.model not in list_models(module=zoo):
        raise ExportError(
            f"torchvision has no image classifier and no segmenter {args.model!r}: see torchvision.models.list_models()"
        )
    weights = get_model_weights(args.model).DEFAULT
    # A segmenter without weights would fetch those of its backbone.
    options: dict[str, Any] = {"weights_backbone": None} if is_segmenter and not args.pretrained else {}
    transform = weights.transforms()
    resize = transform.resize_size[0]
    # Segmenters see the whole picture, of any proportions; a card has one size.
    crop = resize if is_segmenter else transform.crop_size[0]
    if args.size and args.size != crop:
        if args.model.startswith("vit_"):
            if args.pretrained:
                raise ExportError("torchvision's pretrained ViTs have a fixed input size: leave out --size")
            options["image_size"] = args.size
        crop, resize = args.size, round(resize * args.size / crop)
    model = get_model(args.model, weights=weights if args.pretrained else None, **options)
    notes: list[str] = []
    preprocessing = Preprocessing(
        crop,
        crop,
        tuple(transform.mean),
        tuple(transform.std),
        "exact" if is_segmenter else "shorter-side",
        resize,
        _interpolation(transform.interpolation.value, notes),
        "none" if is_segmenter else "center",
    )
    categories = list(weights.meta["categories"])
    labels = "imagenet-1k" if categories == imagenet_labels() else categories
    origin = f"torchvision {args.model}" + (f", weights {weights.name}" if args.pretrained else "")
    return Source(model, preprocessing, labels, origin, "BSD-3-Clause", notes)


# ---------------------------------------------------------------- timm


def from_timm(args: argparse.Namespace) -> Source:
    import_torchvision()  # timm imports it
    import timm
    from timm.data import resolve_data_config
    from timm.layers import set_fused_attn

    if args.attention:
        set_fused_attn(args.attention == "fused")
    if not timm.is_model(args.model.split(".")[0]):
        raise ExportError(f"timm has no model {args.model!r}: see timm.list_models()")
    options: dict[str, Any] = {"scriptable": True} if args.mode == "script" else {}
    try:
        model = timm.create_model(
            args.model, pretrained=args.pretrained, **options, **({"img_size": args.size} if args.size else {})
        )
    except TypeError as error:
        if not args.size or "img_size" not in str(error):
            raise
        model = timm.create_model(args.model, pretrained=args.pretrained, **options)  # a CNN takes any size
    if not getattr(model, "num_classes", 0):
        raise ExportError(f"timm's {args.model} has no classifier head: choose a tag that has one")
    config = resolve_data_config(model=model)
    _, height, width = config["input_size"]
    if args.size:
        height = width = args.size
    notes: list[str] = []
    crop_mode = config.get("crop_mode") or "center"
    if crop_mode == "border":
        notes.append("timm pads the shorter side of this model's pictures; the card says centre crop")
    preprocessing = Preprocessing(
        width,
        height,
        tuple(config["mean"]),
        tuple(config["std"]),
        "exact" if crop_mode == "squash" else "shorter-side",
        math.floor(min(height, width) / config["crop_pct"]),
        _interpolation(config["interpolation"], notes),
    )
    record = model.pretrained_cfg
    names = record.get("label_names")
    labels = list(names) if names else "imagenet-1k" if model.num_classes == 1000 else None
    tag = f".{record['tag']}" if args.pretrained and record.get("tag") and "." not in args.model else ""
    license = record.get("license") if args.pretrained else "Apache-2.0"
    return Source(model, preprocessing, labels, f"timm {args.model}{tag}", license or "see the source", notes)


# ---------------------------------------------------------------- Hugging Face


def from_huggingface(args: argparse.Namespace) -> Source:
    import_torchvision()  # transformers imports it where it is installed
    from transformers import AutoConfig, AutoModelForImageClassification
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    chosen: dict[str, Any] = {}
    if args.attention:
        chosen["attn_implementation"] = "sdpa" if args.attention == "fused" else "eager"
    bare = args.model in CONFIG_MAPPING
    if args.pretrained and bare:
        raise ExportError(
            f"{args.model!r} is a kind of model, without weights: name a repository or a folder, or leave out "
            "--pretrained"
        )
    try:
        if args.pretrained:
            model = AutoModelForImageClassification.from_pretrained(args.model, dtype=torch.float32, **chosen)
        else:
            config = AutoConfig.for_model(args.model) if bare else AutoConfig.from_pretrained(args.model)
            if bare:
                config.num_labels = 1000
            if args.size:
                config.image_size = args.size
            model = AutoModelForImageClassification.from_config(config, **chosen)
    except (OSError, ValueError) as error:
        raise ExportError(
            f"Hugging Face has no image classifier {args.model!r} here: {str(error).splitlines()[0]}"
        ) from error
    config = model.config
    notes: list[str] = []
    preprocessing = _processor(args, bare, config, notes)
    names = [str(config.id2label[i]) for i in range(config.num_labels)]
    if all(name.startswith("LABEL_") for name in names):
        labels = "imagenet-1k" if len(names) == 1000 else None
    else:
        labels = names
    return Source(model, preprocessing, labels, f"huggingface {args.model}", "see the source", notes)


def _processor(args: argparse.Namespace, bare: bool, config: Any, notes: list[str]) -> Preprocessing:
    from PIL import Image
    from transformers import AutoImageProcessor
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

    if bare:
        kinds = IMAGE_PROCESSOR_MAPPING[type(config)]
        kinds = list(kinds.values()) if isinstance(kinds, dict) else list(kinds)
        record = next(kind for kind in kinds if kind is not None)().to_dict()
        side = getattr(config, "image_size", 224)
        side = side if isinstance(side, int) else side[0]
    else:
        record = AutoImageProcessor.from_pretrained(args.model).to_dict()
        side = None
    size, crop = record.get("size") or {}, record.get("crop_size")
    if isinstance(size, int):
        size = {"shortest_edge": size}
    if isinstance(crop, int):
        crop = {"height": crop, "width": crop}
    cropped = bool(record.get("do_center_crop")) and crop is not None
    if "shortest_edge" in size:
        mode, to = "shorter-side", int(size["shortest_edge"])
        if record.get("crop_pct") and not cropped:
            # ConvNeXt: below 384 px the shorter side to size / crop_pct, then the centre; from 384 px squashed
            final = args.size or side or to
            if final >= 384:
                mode = "exact"
            else:
                crop = {"height": to, "width": to}
                to, cropped = int(to / record["crop_pct"]), True
    else:
        mode, to = "exact", int(size.get("height", side or 224))
        if size.get("width", to) != to:
            notes.append("the library resizes to unequal sides; the card says the height")
    height = int(crop["height"]) if cropped else to
    width = int(crop["width"]) if cropped else to
    wanted = args.size or side
    if wanted and wanted != height:
        to = round(to * wanted / height)
        height = width = wanted
    mean, std = record.get("image_mean") or (0, 0, 0), record.get("image_std") or (1, 1, 1)
    if not record.get("do_normalize", True):
        mean, std = (0, 0, 0), (1, 1, 1)
    filters = {v: v.name.lower() for v in Image.Resampling}
    interpolation = _interpolation(filters[Image.Resampling(int(record.get("resample") or 2))], notes)
    return Preprocessing(
        width,
        height,
        tuple(mean),
        tuple(std),
        mode,
        to,
        interpolation,
        "center" if cropped or mode == "shorter-side" else "none",
    )


# ---------------------------------------------------------------- weights, archive, check


def load_weights(model: nn.Module, path: Path) -> None:
    """A state dict (.pt, .pth, .bin, .safetensors), bare or below 'state_dict' or 'model', 'module.' taken off."""
    if not path.is_file():
        raise ExportError(f"There is no weights file {path}: check --weights.")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(str(path))
    else:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ExportError(
                f"{path} is no state dict that torch.load(weights_only=True) reads: save model.state_dict()."
            ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ExportError(f"{path} holds no state dict: save model.state_dict().")
    state = {key.removeprefix("module."): value for key, value in state.items()}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise ExportError(
            f"{path} does not fit the model: {lines[1].strip() if len(lines) > 1 else lines[0]}"
        ) from error


def leaves(output: Any) -> list[Tensor]:
    """The tensors of an output, in order, out of tuples and dicts."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        return [t for value in output.values() for t in leaves(value)]
    if isinstance(output, (tuple, list)):
        return [t for value in output for t in leaves(value)]
    return []


def program(model: nn.Module, example: Tensor, path: Path) -> None:
    """Any number of images, of one size."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        exported = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        torch.export.save(exported, str(path))


def archive(model: nn.Module, example: Tensor, mode: str, gradients: bool, path: Path) -> None:
    with warnings.catch_warnings(), torch.set_grad_enabled(gradients):
        warnings.simplefilter("ignore")  # the tracer's hints on Python branches; the check below is the proof
        if mode == "script":
            scripted = torch.jit.script(model)
        else:
            # strict=False lets outputs be dicts, as Hugging Face's are
            scripted = torch.jit.trace(model, example, check_trace=False, strict=False)
        scripted.save(str(path))


@torch.no_grad()
def difference(model: nn.Module, path: Path, example: Tensor) -> float:
    """The largest difference between the archive's outputs and the source's, as a share of the largest output."""
    wanted = leaves(model(example))
    if path.suffix == ".pt2":
        loaded = torch.export.load(str(path)).module()
    else:
        loaded = torch.jit.load(str(path), map_location="cpu")
    found = leaves(loaded(example))
    if not wanted or len(wanted) != len(found):
        raise ExportError(f"The archive gives {len(found)} tensors, the source {len(wanted)}.")
    worst = 0.0
    for a, b in zip(wanted, found, strict=True):
        if a.shape != b.shape:
            raise ExportError(f"The archive gives {list(b.shape)} where the source gives {list(a.shape)}.")
        gap = float((a - b).abs().max() / a.abs().max().clamp_min(1e-12))
        worst = max(worst, gap if math.isfinite(gap) else math.inf)
    return worst


def how(args: argparse.Namespace) -> str:
    if args.format == "pt2":
        return "exported"
    return "traced" if args.mode == "trace" else "scripted"


def other_way(args: argparse.Namespace) -> str:
    if args.format == "pt2":
        return "--format torchscript"
    return f"--mode {'trace' if args.mode == 'script' else 'script'}"


def export(args: argparse.Namespace) -> tuple[Path, Path, float]:
    if args.seed is not None:
        torch.manual_seed(args.seed)
    source = {"torchvision": from_torchvision, "timm": from_timm, "huggingface": from_huggingface}[args.library](args)
    model = source.model.float().eval()
    if args.weights:
        load_weights(model, args.weights)
    pre = source.preprocessing
    random = torch.Generator().manual_seed(args.seed or 0)
    shape = (3, pre.height, pre.width)
    example = torch.randn(TRACED_BATCH, *shape, generator=random)
    other = torch.randn(CHECKED_BATCH, *shape, generator=random)
    out: Path = args.out
    card_path = out.with_suffix(".json")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Built under the same name in a folder of its own (the name goes into the archive), and moved only when it
    # is right: a failure leaves no half-made archive and takes no earlier one away.
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as folder:
        made = Path(folder) / out.name
        if args.format == "pt2":
            program(model, example, made)
        else:
            archive(model, example, args.mode, not args.no_grad, made)
        gap = difference(model, made, other)
        if gap > TOLERANCE:
            raise ExportError(
                f"The archive's outputs differ from the source's by {gap:.1e} of their size at batch "
                f"{CHECKED_BATCH}; it was deleted: try {other_way(args)}."
            )
        made.replace(out)
    weights = (
        f"weights of {args.weights.name}"
        if args.weights
        else "pretrained"
        if args.pretrained
        else f"random weights, seed {args.seed}"
    )
    about = ". ".join([f"{source.origin}, {weights}, {how(args)}", *source.notes]) + "."
    card: dict[str, Any] = {
        "name": out.stem,
        "description": about,
        "archive": out.name,
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
        "input": pre.card(),
    }
    if source.labels is not None:
        card["labels"] = source.labels
    card["source"] = source.origin
    card["license"] = source.license
    card_path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    return out, card_path, gap


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", choices=("torchvision", "timm", "huggingface"), required=True)
    parser.add_argument(
        "--model", required=True, help="the library's name; huggingface also takes a folder, or a kind such as vit"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--pretrained", action="store_true", help="the library's default weights (downloads them)")
    which.add_argument("--seed", type=int, help="random weights from this seed (0 when nothing else is asked)")
    parser.add_argument("--weights", type=Path, help="load this state dict")
    parser.add_argument(
        "--format",
        choices=("pt2", "torchscript"),
        help="pt2: a program of torch.export; torchscript: an archive of torch.jit (as --out ends, .pt2 or .pt)",
    )
    parser.add_argument("--mode", choices=("trace", "script"), default="trace", help="of torchscript")
    parser.add_argument("--size", type=int, help="input side in px, other than the library's")
    parser.add_argument(
        "--attention",
        choices=("fused", "plain"),
        help="timm, huggingface: with scaled_dot_product_attention, or written out",
    )
    parser.add_argument(
        "--no-grad",
        action="store_true",
        help="trace with gradients off (torchvision's ViT then records its fused kernel)",
    )
    parser.add_argument("--out", type=Path, required=True, help="the archive; the card goes beside it as .json")
    args = parser.parse_args(argv)
    if args.format is None:
        args.format = "pt2" if args.out.suffix == ".pt2" else "torchscript"
    endings = (".pt2",) if args.format == "pt2" else (".pt", ".ts", ".torchscript")
    if args.out.suffix not in endings:
        parser.error(f"--out {args.out} must end in {endings[0]}")
    if args.format == "pt2" and (args.mode != "trace" or args.no_grad):
        parser.error("--mode and --no-grad are of --format torchscript")
    if args.attention and args.library == "torchvision":
        parser.error("--attention is for timm and huggingface; torchvision decides by itself (see --no-grad)")
    if args.size is not None and args.size < 1:
        parser.error("--size must be at least 1 px")
    if args.seed is None and not args.pretrained:
        args.seed = 0
    return args


def main() -> int:
    args = parse(sys.argv[1:])
    try:
        out, card, gap = export(args)
    except ExportError as error:
        print(error, file=sys.stderr)
        return 1
    # The libraries' and the compiler's own errors: their first line says what.
    except Exception as error:  # noqa: BLE001
        told = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        print(f"{args.library} {args.model} could not be exported ({how(args)}): {told.strip()}", file=sys.stderr)
        return 1
    print(f"{out} and {card}: outputs equal the source's at batch {CHECKED_BATCH} (largest difference {gap:.1e})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
