"""What PyTorch says of an eager model, by hooks and autograd: features, attention behind every softmax, their
gradients."""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Attention:
    probabilities: Tensor  # as the softmax gave them
    axis: int  # the softmax's: keys
    path: str  # of the module in which it was computed
    heads: int | None  # as that module says


@dataclass
class Reference:
    logits: Tensor
    image: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)  # at hook time, in the autograd graph
    others: dict[str, list[Tensor]] = field(
        default_factory=dict
    )  # of a module that returns several, those after the first
    attention: list[Attention] = field(default_factory=list)


HEAD_NAMES = ("num_heads", "num_attention_heads", "n_heads", "heads")


def heads_of(module: nn.Module) -> int | None:
    found = [getattr(module, name) for name in HEAD_NAMES if isinstance(getattr(module, name, None), int)]
    return found[0] if found else None


def tensors_of(output) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    values = output.values() if isinstance(output, dict) else output if isinstance(output, (tuple, list)) else ()
    return [tensor for item in values for tensor in tensors_of(item)]


def logits_of(output) -> Tensor:
    if isinstance(output, dict):
        return output["logits"] if "logits" in output else tensors_of(output)[0]
    return tensors_of(output)[0]


@contextmanager
def recorded(model: nn.Module, taken: Reference, replace=None):
    """Records modules' outputs and softmaxes of `model` as it runs. `replace` is put in the place of every
    attention."""
    inside: list[tuple[str, nn.Module]] = []
    calls: dict[str, int] = {}

    def enter(path, module):
        return lambda *_: inside.append((path, module))

    def leave(path):
        def keep(_module, _inputs, output):
            inside.pop()
            tensors = [tensor for tensor in tensors_of(output) if tensor.is_floating_point()]
            if not tensors:
                return None
            count = calls[path] = calls.get(path, -1) + 1
            name = path if count == 0 else f"{path}:{count}"
            taken.features[name], taken.others[name] = tensors[0], tensors[1:]
            # The rest of the model gets a copy: an operator in place would change what was kept.
            return output.clone() if isinstance(output, Tensor) else None

        return keep

    depth = 0

    def softmax(original):
        def run(scores, dim=None, *args, **kwargs):
            nonlocal depth
            depth += 1
            try:
                result = (
                    original(scores, dim, *args, **kwargs) if dim is not None else original(scores, *args, **kwargs)
                )
            finally:
                depth -= 1
            if depth > 0 or dim is None or result.dim() < 3:
                return result
            if replace is not None:
                return replace(result, dim)
            path, module = inside[-1] if inside else ("", model)
            heads = next((count for _, owner in reversed(inside) if (count := heads_of(owner)) is not None), None)
            taken.attention.append(Attention(result, dim, path, heads))
            return result

        return run

    def attend(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        if enable_gqa:
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
            value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        if attn_mask is not None:
            scores = (
                scores.masked_fill(~attn_mask, float("-inf")) if attn_mask.dtype == torch.bool else scores + attn_mask
            )
        return torch.softmax(scores, -1) @ value

    with ExitStack() as stack:
        for path, module in model.named_modules():
            if path:
                stack.callback(module.register_forward_pre_hook(enter(path, module)).remove)
                stack.callback(module.register_forward_hook(leave(path)).remove)
        stack.enter_context(mock.patch.object(F, "scaled_dot_product_attention", attend))
        for owner in (F, torch, Tensor):
            stack.enter_context(mock.patch.object(owner, "softmax", softmax(owner.softmax)))
        yield


def run(model: nn.Module, images: Tensor) -> Reference:
    taken = Reference(logits=images, image=images.detach().clone().requires_grad_(True))
    with torch.enable_grad(), recorded(model, taken):
        taken.logits = logits_of(model(taken.image))
    return taken


def gradients(reference: Reference, target: int, tensors: list[Tensor]) -> list[Tensor | None]:
    """Of the target class's logit, summed over the images, which do not see one another. None where a tensor has no
    part in it, or is no image's, such as positions' own attention."""
    recorded = [tensor for tensor in tensors if tensor.requires_grad]
    if not recorded:
        return [None] * len(tensors)
    score = reference.logits[:, target].sum()
    found = iter(torch.autograd.grad(score, recorded, retain_graph=True, allow_unused=True))
    return [next(found) if tensor.requires_grad else None for tensor in tensors]


def without_mixing(model: nn.Module, images: Tensor) -> Reference:
    """A run in which every token attends to itself alone: what a token then depends on is where it lies in the
    image."""

    def identity(result, dim):
        moved = result.movedim(dim, -1)
        if moved.shape[-1] != moved.shape[-2]:
            return result
        return (moved * 0 + torch.eye(moved.shape[-1], dtype=moved.dtype)).movedim(-1, dim)

    taken = Reference(logits=images, image=images.detach().clone().requires_grad_(True))
    with torch.enable_grad(), recorded(model, taken, identity):
        taken.logits = logits_of(model(taken.image))
    return taken
