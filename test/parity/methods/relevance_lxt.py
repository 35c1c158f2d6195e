"""AttnLRP and CP-LRP by LXT (efficient form) with zennit's gamma rule, on models as they are: patched in place, one
rule a process.

LXT patches classes for good, so that every rule is asked in a fresh interpreter:
`python relevance_lxt.py RULE FILE NAME...` writes the pixel relevance of each subject to FILE.
"""

from __future__ import annotations

import sys
from functools import partial
from types import ModuleType
from unittest.mock import MagicMock

from attention_subjects import Subject, archived, shipped
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

# Its language models are written for an older transformers, and not needed.
for _language in ("llama", "qwen2", "qwen3", "gemma3", "bert", "gpt2"):
    _module = sys.modules[f"lxt.efficient.models.{_language}"] = ModuleType(_language)
    setattr(_module, f"modeling_{_language}", MagicMock())
    _module.attnLRP = {}

from lxt.efficient import monkey_patch, monkey_patch_zennit
from lxt.efficient.patches import (
    cp_wrap_attention_forward,
    layer_norm_forward,
    non_linear_forward,
    patch_method,
    wrap_attention_forward,
)
from torchvision.models import vision_transformer
from zennit.composites import NameMapComposite
from zennit.rules import Gamma

GAMMAS = {"plain": (0.0, 0.0), "gamma": (0.05, 0.25), "strong": (1.0, 100.0)}  # of linear layers, of convolutions


def patch(rule: str) -> None:
    """Activations, layer norms and attention; LXT knows no timm, so its own wrappers go around the fused attention."""
    import timm.layers

    norms = {cls for cls in vars(timm.layers).values() if isinstance(cls, type) and issubclass(cls, nn.LayerNorm)} | {
        nn.LayerNorm
    }
    for cls in norms:
        patch_method(layer_norm_forward, cls)
    patch_method(non_linear_forward, nn.GELU, keep_original=True)
    wrap = wrap_attention_forward if rule == "attn-lrp" else cp_wrap_attention_forward
    original = F.scaled_dot_product_attention
    wrapped = wrap(lambda _module, *inputs, **settings: original(*inputs, **settings))
    F.scaled_dot_product_attention = partial(wrapped, None)
    # The functional form of nn.MultiheadAttention took the operator from torch._C._nn at import.
    torch.nn.functional.scaled_dot_product_attention = F.scaled_dot_product_attention


def outside_attention(model: nn.Module, kind: type) -> list[str]:
    """LXT's examples leave the projections of attention without gamma: torchvision's are no modules that hooks would
    see."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, kind) and not any(part in name for part in ("attn", "self_attention"))
    ]


def relevance(subject: Subject, gammas: tuple[float, float]) -> Tensor:
    linear, convolution = gammas
    rules = [
        (outside_attention(subject.model, cls), Gamma(gamma))
        for cls, gamma in ((nn.Linear, linear), (nn.Conv2d, convolution))
        if gamma > 0
    ]
    composite = NameMapComposite(rules) if rules else None
    if composite is not None:
        composite.register(subject.model)
    found = []
    for image, target in zip(subject.images, subject.targets):
        x = image[None].clone().requires_grad_(True)
        logits = subject.model(x)
        logits = sum(logits) / len(logits) if isinstance(logits, tuple) else logits
        logits[0, target].backward()
        found.append((x * x.grad).sum(dim=1)[0].detach())
    if composite is not None:
        composite.remove()
    return torch.stack(found)


def main(rule: str, path: str, names: list[str]) -> None:
    subjects = {name: shipped() if name == "vit-tiny-shapes" else archived(name) for name in names}
    if rule == "cp-lrp-torchvision":
        monkey_patch(vision_transformer)  # LXT's own map, module for module
    else:
        patch(rule)
    monkey_patch_zennit()
    tensors = {
        f"{name}/{key}": relevance(subject, gammas).contiguous()
        for name, subject in subjects.items()
        for key, gammas in GAMMAS.items()
    }
    save_file(tensors, path)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
