"""The two ViT explainers that are published as code and not as packages, written anew from their algorithms:
vit-explain (Gildenblat 2020) and generic attention explainability (Chefer et al. 2021). They work as the originals do:
one image at a time, attention copied out by hooks, whole N x N products, gradients of all parameters. vit-explain's
peculiarities are kept (see each), since they are what its users get.

Fused attention is switched off, as both need: it never shows the probabilities.
"""

import numpy as np
import torch
from torch import Tensor, nn

from peer import Job, Setting, peer


def _unfused(model: nn.Module) -> nn.Module:
    for block in model.blocks:
        block.attn.fused_attn = False
    return model


def _dropouts(model: nn.Module) -> list[nn.Module]:
    return [module for name, module in model.named_modules() if "attn_drop" in name]


def _each(images: Tensor, explain) -> np.ndarray:
    """One image after the other: neither takes a batch."""
    return np.stack([explain(images[i : i + 1], i) for i in range(len(images))])


def _vit_explain_product(flows: list[Tensor], ratio: float, keeps_first: bool) -> np.ndarray:
    """vit-explain's aggregation of [1, N, N] each to a map [14, 14], divided by its maximum."""
    tokens = flows[0].shape[-1]
    joint = torch.eye(tokens)
    for flow in flows:
        entries = flow.reshape(len(flow), -1)
        smallest = entries.topk(int(entries.shape[-1] * ratio), dim=-1, largest=False).indices
        if keeps_first:
            smallest = smallest[smallest != 0]
        entries[0, smallest] = 0
        mixed = (entries.reshape(flow.shape) + 1.0 * torch.eye(tokens)) / 2
        # Sums of rows divide columns: the original leaves the summed axis out, and broadcasting then takes the last.
        joint = torch.matmul(mixed / mixed.sum(dim=-1), joint)
    row = joint[0, 0, 1:]
    side = int(row.shape[-1] ** 0.5)
    grid = row.reshape(side, side).numpy()
    return grid / np.max(grid)


HEADS = {"mean": lambda a: a.mean(dim=1), "max": lambda a: a.max(dim=1).values, "min": lambda a: a.min(dim=1).values}


@peer("vit-explain/rollout")
def rollout(setting: Setting) -> Job:
    model = _unfused(setting.model)
    seen: list[Tensor] = []
    for module in _dropouts(model):
        module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.cpu()))
    fuse, ratio = HEADS[setting.options["head_fusion"]], setting.options["discard_ratio"]

    def explain(image: Tensor, _i: int) -> np.ndarray:
        seen.clear()
        with torch.no_grad():
            model(image)
            return _vit_explain_product([fuse(attention) for attention in seen], ratio, keeps_first=True)

    return Job(lambda: _each(setting.images, explain), lambda maps: maps)


@peer("vit-explain/gradient-rollout")
def gradient_rollout(setting: Setting) -> Job:
    model = _unfused(setting.model)
    attention: list[Tensor] = []
    slopes: list[Tensor] = []
    for module in _dropouts(model):
        module.register_forward_hook(lambda _module, _inputs, output: attention.append(output.cpu()))
        # Not register_full_backward_hook: in inference mode the dropout returns its input, and this hook then hands
        # out the gradient of the softmax's input. It is what the original's users get.
        module.register_backward_hook(lambda _module, inputs, _outputs: slopes.append(inputs[0].cpu()))
    ratio = setting.options["discard_ratio"]

    def explain(image: Tensor, i: int) -> np.ndarray:
        # The original's lists grow from call to call; whoever explains more than one image must empty them.
        attention.clear()
        slopes.clear()
        model.zero_grad()
        logits = model(image)
        mask = torch.zeros_like(logits)
        mask[:, setting.targets[i]] = 1
        (logits * mask).sum().backward()
        with torch.no_grad():
            # Gradients come last block first and are paired with attention first block first, as in the original.
            flows = [(a * slope).mean(dim=1).clamp(min=0) for a, slope in zip(attention, slopes, strict=True)]
            return _vit_explain_product(flows, ratio, keeps_first=False)

    return Job(lambda: _each(setting.images, explain), lambda maps: maps)


@peer("chefer/gae")
def gae(setting: Setting) -> Job:
    model = _unfused(setting.model)
    attention: list[Tensor] = []
    slopes: dict[int, Tensor] = {}

    def keep(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        position = len(attention)
        attention.append(output)
        if output.requires_grad:
            output.register_hook(lambda slope: slopes.__setitem__(position, slope))

    for module in _dropouts(model):
        module.register_forward_hook(keep)

    def explain(image: Tensor, i: int) -> np.ndarray:
        attention.clear()
        logits = model(image)
        one_hot = torch.zeros_like(logits)
        one_hot[0, setting.targets[i]] = 1
        model.zero_grad()
        torch.sum(one_hot * logits).backward(retain_graph=True)
        tokens = attention[0].shape[-1]
        with torch.no_grad():
            relevance = torch.eye(tokens)
            for position, probabilities in enumerate(attention):
                flow = slopes[position].reshape(-1, tokens, tokens) * probabilities.reshape(-1, tokens, tokens)
                relevance = relevance + torch.matmul(flow.clamp(min=0).mean(dim=0), relevance)
        return relevance[0, 1:].reshape(14, 14).numpy()

    return Job(lambda: _each(setting.images, explain), lambda maps: maps)
