"""Checkpoints of seeded weights, as they would come from the hub: for tests that have no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from architectures import Architecture
from seeded_values import seed_model
from torchvision_import import import_torchvision

# Of Google's and Facebook's own checkpoints; timm's definitions have 1e-6.
HUGGINGFACE_NORM_EPS = 1e-12

_WIDTHS = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12), "large": (1024, 16)}
_RESNETS = {
    "resnet18": ("basic", [2, 2, 2, 2]),
    "resnet34": ("basic", [3, 4, 6, 3]),
    "resnet50": ("bottleneck", [3, 4, 6, 3]),
    "resnet101": ("bottleneck", [3, 4, 23, 3]),
}
_SWINS = {
    "tiny": (96, [2, 2, 6, 2], [3, 6, 12, 24]),
    "small": (96, [2, 2, 18, 2], [3, 6, 12, 24]),
    "base": (128, [2, 2, 18, 2], [4, 8, 16, 32]),
}
_CONVNEXTS = {"tiny": (96, 9), "small": (96, 27), "base": (128, 27), "large": (192, 27)}


class NoSuchNaming(Exception):
    """One sentence."""


def own_naming(architecture: Architecture) -> str:
    return {"timm": "timm", "transformers": "huggingface", "models": "sightline"}[architecture.library]


def source_model(architecture: Architecture, naming: str, classes: int, size: int | None) -> nn.Module:
    """The model of that library, with its own random weights, in inference mode."""
    if naming == own_naming(architecture):
        return architecture.build(classes, size)
    make = {"torchvision": _torchvision, "huggingface": _huggingface}.get(naming)
    model = make(architecture.name, classes, size or architecture.size) if make else None
    if model is None:
        raise NoSuchNaming(f"There is no {architecture.name} by {naming}'s names.")
    return model.eval().requires_grad_(False)


def _torchvision(name: str, classes: int, side: int) -> nn.Module | None:
    import_torchvision()
    from torchvision.models import get_model

    if name.startswith(("resnet", "wide_resnet", "resnext", "convnext_", "densenet")):
        return get_model(name, num_classes=classes)
    models = {
        "swin_tiny_patch4_window7": "swin_t",
        "swin_small_patch4_window7": "swin_s",
        "swin_base_patch4_window7": "swin_b",
    }
    if name in models:
        return get_model(models[name], num_classes=classes)
    models = {"vit_base_patch16": "vit_b_16", "vit_base_patch32": "vit_b_32", "vit_large_patch16": "vit_l_16"}
    return get_model(models[name], num_classes=classes, image_size=side) if name in models else None


def _huggingface(name: str, classes: int, side: int) -> nn.Module | None:
    import_torchvision()  # transformers imports it where it is installed
    import transformers

    transformers.logging.set_verbosity_error()
    kind, _, size = name.partition("_")
    if name in _RESNETS:
        layer, depths = _RESNETS[name]
        sizes = [64, 128, 256, 512] if layer == "basic" else [256, 512, 1024, 2048]
        config = transformers.ResNetConfig(layer_type=layer, depths=depths, hidden_sizes=sizes, num_labels=classes)
        return transformers.ResNetForImageClassification(config)
    if kind == "convnext":
        width, depth = _CONVNEXTS[size]
        sizes = [width * 2**stage for stage in range(4)]
        return transformers.ConvNextForImageClassification(
            transformers.ConvNextConfig(depths=[3, 3, depth, 3], hidden_sizes=sizes, num_labels=classes)
        )
    if kind == "swin":
        width, depths, heads = _SWINS[size.partition("_")[0]]
        return transformers.SwinForImageClassification(
            transformers.SwinConfig(embed_dim=width, depths=depths, num_heads=heads, num_labels=classes)
        )
    if kind not in ("vit", "deit") or not name.rpartition("patch")[2].isdigit():
        return None
    width, heads = _WIDTHS[size.partition("_")[0]]
    options = dict(
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        num_hidden_layers=24 if width == 1024 else 12,
        image_size=side,
        patch_size=int(name.rpartition("patch")[2]),
        num_labels=classes,
        layer_norm_eps=HUGGINGFACE_NORM_EPS,
    )
    if kind == "vit":
        return transformers.ViTForImageClassification._from_config(
            transformers.ViTConfig(**options), attn_implementation="sdpa"
        )
    return transformers.DeiTForImageClassificationWithTeacher._from_config(
        transformers.DeiTConfig(**options), attn_implementation="sdpa"
    )


def configuration(
    architecture: Architecture, naming: str, model: nn.Module, classes: int, size: int | None
) -> dict[str, Any]:
    """What stands in the repository's config.json."""
    if naming == "huggingface":
        return {**model.config.to_dict(), "architectures": [type(model).__name__]}
    if naming == "timm":
        side = size or architecture.size
        return {
            "architecture": architecture.model,
            "num_classes": classes,
            "pretrained_cfg": {
                **{
                    key: model.pretrained_cfg[key]
                    for key in ("mean", "std", "interpolation", "crop_pct", "crop_mode", "license")
                },
                "input_size": [3, side, side],
                "num_classes": classes,
            },
        }
    return {"architecture": architecture.name, "num_classes": classes}


@torch.no_grad()
def write_checkpoint(
    architecture: Architecture, naming: str | None, seed: int, classes: int, size: int | None, out: Path
) -> str:
    """Writes the checkpoint, its configuration and a reference; returns a sentence that says so."""
    from safetensors.torch import save_file

    chosen = naming or own_naming(architecture)
    model = seed_model(source_model(architecture, chosen, classes, size), seed)
    side = size or architecture.size
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(seed))
    output = model(image)
    logits = output if isinstance(output, torch.Tensor) else output["logits"]
    out.parent.mkdir(parents=True, exist_ok=True)
    if chosen == "huggingface":
        _save_as_the_hub_has_it(model, out)
    else:
        save_file(
            {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, out, metadata={"format": "pt"}
        )
    config_path, reference_path = out.with_suffix(".config.json"), out.with_suffix(".reference.safetensors")
    config_path.write_text(json.dumps(configuration(architecture, chosen, model, classes, size), indent=2) + "\n")
    save_file({"image": image, "logits": logits.contiguous()}, reference_path)
    return f"{out} ({out.stat().st_size} bytes, {chosen} names), {config_path.name}, {reference_path.name}"


def _save_as_the_hub_has_it(model: nn.Module, out: Path) -> None:
    """By transformers' own writer, which gives the names of the files on the hub, not those of its modules."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix=".checkpoint-", dir=out.parent) as folder:
        model.save_pretrained(folder, max_shard_size="100GB")
        (Path(folder) / "model.safetensors").replace(out)
