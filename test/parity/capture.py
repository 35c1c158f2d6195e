"""Runs an eager PyTorch model once and keeps what a tap must equal: features, attention, gradients."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Capture:
    logits: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)  # values at hook time
    live: dict[str, Tensor] = field(default_factory=dict)  # the same, still in the autograd graph
    attention: list[Tensor] = field(default_factory=list)  # probabilities, in the autograd graph
    query: list[Tensor] = field(default_factory=list)
    key: list[Tensor] = field(default_factory=list)
    value: list[Tensor] = field(default_factory=list)


def first_tensor(output) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    values = output.values() if isinstance(output, dict) else output if isinstance(output, (tuple, list)) else ()
    return next((found for item in values if (found := first_tensor(item)) is not None), None)


@contextmanager
def feature_hooks(model: nn.Module, taken: Capture):
    """Output n of a module that runs several times (a shared ReLU) is named `path#n`, the only output just `path`."""
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def hook(path):
        def keep(_module, _inputs, output):
            tensor = first_tensor(output)
            if tensor is not None and tensor.is_floating_point():
                # Cloned now: an in-place ReLU that follows would overwrite it.
                calls.setdefault(path, []).append((tensor.detach().clone(), tensor))

        return keep

    handles = [module.register_forward_hook(hook(path)) for path, module in model.named_modules() if path]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for path, outputs in calls.items():
            for index, (value, live) in enumerate(outputs):
                name = path if len(outputs) == 1 else f"{path}#{index}"
                taken.features[name], taken.live[name] = value, live


@contextmanager
def opened_sdpa(taken: Capture):
    """Replaces F.scaled_dot_product_attention by its definition, which has probabilities to keep."""

    def attend(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        assert attn_mask is None and not is_causal and not enable_gqa and dropout_p == 0
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        probabilities = torch.softmax(query @ key.transpose(-2, -1) * scale, dim=-1)
        taken.attention.append(probabilities)
        taken.query.append(query)
        taken.key.append(key)
        taken.value.append(value)
        return probabilities @ value

    with mock.patch.object(F, "scaled_dot_product_attention", attend):
        yield


@contextmanager
def windowed_attention(model: nn.Module, taken: Capture):
    """Keeps what Swin's window attention computes: the softmax's output and q, k, v of every window."""
    packed = {id(module.qkv.weight): module for module in model.modules() if hasattr(module, "qkv")}
    softmax, linear = F.softmax, F.linear

    def keep_softmax(scores, *args, **kwargs):
        probabilities = softmax(scores, *args, **kwargs)
        taken.attention.append(probabilities)
        return probabilities

    def keep_linear(tokens, weight, bias=None):
        output = linear(tokens, weight, bias)
        if id(weight) in packed:
            windows, area, _ = output.shape
            parts = output.reshape(windows, area, 3, packed[id(weight)].num_heads, -1).permute(2, 0, 3, 1, 4)
            for kept, part in zip((taken.query, taken.key, taken.value), parts):
                kept.append(part)
        return output

    with mock.patch.object(F, "softmax", keep_softmax), mock.patch.object(F, "linear", keep_linear):
        yield


def logits_of(output) -> Tensor:
    return output if isinstance(output, Tensor) else output["logits"] if isinstance(output, dict) else output[0]


def run(model: nn.Module, images: Tensor, windowed: bool) -> Capture:
    """One forward pass of images [B, 3, H, W], recorded from the input on; parameters get no gradient."""
    taken = Capture(logits=images)
    attention = windowed_attention(model, taken) if windowed else opened_sdpa(taken)
    with torch.enable_grad(), feature_hooks(model, taken), attention:
        taken.logits = logits_of(model(images.detach().clone().requires_grad_(True)))
    return taken


def gradients(taken: Capture, target: int, tensors: list[Tensor]) -> list[Tensor]:
    """Gradients of sum over the batch of logits[:, target], all tensors jointly."""
    if not tensors:
        return []
    return list(torch.autograd.grad(taken.logits[:, target].sum(), tensors, retain_graph=True))
