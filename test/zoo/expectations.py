"""Which tokens a model's classes and patches are, as its own attributes say: independent of what is read from its
graph."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Tokens:
    grid: tuple[int, int]
    prefix: int
    row: int | None  # the token that is classified; None: the mean of the patches


# Hugging Face: tokens before the patches, and the token that is classified.
TRANSFORMERS = {
    "ViT": (1, 0),
    "ViTMSN": (1, 0),
    "DeiT": (2, 0),
    "Beit": (1, None),
    "Data2VecVision": (1, None),
    "Dinov2": (1, 0),
    "Dinov2WithRegisters": (5, 0),
    "IJepa": (0, None),
    "Siglip": (0, None),
    "CLIP": (1, None),
    "MetaClip2": (1, None),
}


def tokens_of(name: str, model: nn.Module, size: tuple[int, int]) -> Tokens | None:
    """None where nothing is known by itself."""
    height, width = size
    library, _, short = name.partition("/")
    if library == "timm":
        patches = getattr(model, "patch_embed", None) or getattr(model, "embeds", None)
        patch = getattr(patches, "patch_size", None)
        pool = getattr(model, "global_pool", None)
        if patch is None or pool not in ("token", "avg"):
            return None
        patch = patch if isinstance(patch, tuple) else (patch, patch)
        prefix = getattr(model, "num_prefix_tokens", None)
        if prefix is None:
            prefix = 1 if getattr(model, "cls_token", None) is not None else 0
        backbone = getattr(patches, "backbone", None)
        grid = patches.grid_size if backbone is not None else (height // patch[0], width // patch[1])
        return Tokens(tuple(grid), prefix, 0 if pool == "token" else None)
    if library == "torchvision":
        return (
            Tokens((height // model.patch_size, width // model.patch_size), 1, 0)
            if hasattr(model, "patch_size")
            else None
        )
    config = getattr(model.config, "vision_config", model.config)
    patch = getattr(config, "patch_size", None)
    if not isinstance(patch, int):
        return None
    grid = (height // patch, width // patch)
    if short == "Beit-relative":
        return Tokens(grid, 1, 0)
    if short in TRANSFORMERS:
        return Tokens(grid, *TRANSFORMERS[short])
    return None
