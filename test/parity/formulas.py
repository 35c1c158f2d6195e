"""The explanation maps by their formulas, one image at a time, independent of sightline.

Shapes: features [C, h, w] (CNN) or [N, C] (tokens); attention and its gradient [heads, N, N] per block, query rows,
key columns, after softmax. Maps are raw: not normalised, at grid size. `prefix` tokens (class, distillation,
registers) come first; the row that explains is the class token's, row 0, or the mean of all rows where there is none.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def cam(features: Tensor, weight: Tensor) -> Tensor:
    """Zhou et al. 2016, Learning Deep Features for Discriminative Localization. weight [C] of the class; no ReLU."""
    return torch.einsum("c,chw->hw", weight, features)


def grad_cam(features: Tensor, gradient: Tensor) -> Tensor:
    """Selvaraju et al. 2017, Grad-CAM. Both [C, h, w]."""
    weights = gradient.mean(dim=(1, 2))
    return torch.relu(torch.einsum("c,chw->hw", weights, features))


def grad_cam_tokens(features: Tensor, gradient: Tensor, prefix: int, grid: tuple[int, int]) -> Tensor:
    """Grad-CAM on tokens [N, C]; prefix tokens take part neither in the weights nor in the map."""
    weights = gradient[prefix:].mean(dim=0)
    return torch.relu(features[prefix:] @ weights).reshape(grid)


def explaining_row(matrix: Tensor, prefix: int, grid: tuple[int, int], class_token: bool) -> Tensor:
    row = matrix[0] if class_token else matrix.mean(dim=0)
    return row[prefix:].reshape(grid)


def raw_attention(attention: Sequence[Tensor], **where) -> Tensor:
    """The last block's attention, mean over heads."""
    return explaining_row(attention[-1].mean(dim=0), **where)


def smallest_entries(matrix: Tensor, ratio: float) -> Tensor:
    """Flat indices of the int(N*N*ratio) smallest entries of the whole matrix."""
    return matrix.flatten().topk(int(matrix.numel() * ratio), largest=False).indices


def discard(matrix: Tensor, ratio: float, keep_first: bool) -> Tensor:
    """Sets the smallest entries to zero; with `keep_first` flat index 0 ([class, class]) survives among them."""
    indices = smallest_entries(matrix, ratio)
    if keep_first:
        indices = indices[indices != 0]
    flat = matrix.flatten().clone()
    flat[indices] = 0
    return flat.reshape(matrix.shape)


def discard_gap(matrix: Tensor, ratio: float) -> float:
    """How far, relative to their size, the last discarded and the first kept entry lie apart.

    A tie that rounding can turn makes the map ambiguous; equal zeros do not. Infinite where nothing can turn.
    """
    count = int(matrix.numel() * ratio)
    if count in (0, matrix.numel()):
        return float("inf")
    ordered = matrix.flatten().sort().values
    below, above = ordered[count - 1].item(), ordered[count].item()
    return float("inf") if above == 0 else (above - below) / above


def residual(matrix: Tensor) -> Tensor:
    mixed = 0.5 * matrix + 0.5 * torch.eye(matrix.shape[-1], dtype=matrix.dtype)
    return mixed / mixed.sum(dim=-1, keepdim=True)


def product(steps: Sequence[Tensor], size: int, dtype: torch.dtype) -> Tensor:
    joint = torch.eye(size, dtype=dtype)
    for step in steps:
        joint = step @ joint
    return joint


FUSIONS = {
    "mean": lambda a: a.mean(dim=0),
    "max": lambda a: a.amax(dim=0),
    "min": lambda a: a.amin(dim=0),
}


def attention_rollout(attention: Sequence[Tensor], fusion="mean", ratio=0.0, start=0, **where) -> Tensor:
    """Abnar and Zuidema 2020, Quantifying Attention Flow in Transformers; head fusion and discard after Gildenblat."""
    steps = [residual(discard(FUSIONS[fusion](a), ratio, keep_first=True)) for a in attention[start:]]
    return explaining_row(product(steps, attention[0].shape[-1], attention[0].dtype), **where)


def gradient_flow(attention: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
    return [torch.relu(a * g).mean(dim=0) for a, g in zip(attention, gradients, strict=True)]


def gradient_rollout(attention: Sequence[Tensor], gradients: Sequence[Tensor], ratio=0.0, **where) -> Tensor:
    """Gradient attention rollout (Gildenblat 2020), each block with its own gradient, rows normalised."""
    steps = [residual(discard(f, ratio, keep_first=False)) for f in gradient_flow(attention, gradients)]
    return explaining_row(product(steps, attention[0].shape[-1], attention[0].dtype), **where)


def gae(attention: Sequence[Tensor], gradients: Sequence[Tensor], **where) -> Tensor:
    """Chefer et al. 2021, Generic Attention-model Explainability, self-attention rule; no row normalisation."""
    relevance = torch.eye(attention[0].shape[-1], dtype=attention[0].dtype)
    for flow in gradient_flow(attention, gradients):
        relevance = relevance + flow @ relevance
    return explaining_row(relevance, **where)


def attention_maps(attention: Sequence[Tensor], gradients: Sequence[Tensor], **where) -> dict[str, Tensor]:
    """Every attention map of one image by its reference name (without `maps.`)."""
    maps = {
        "raw-attention": raw_attention(attention, **where),
        "attention-rollout": attention_rollout(attention, **where),
        "attention-rollout.max.0.9": attention_rollout(attention, "max", 0.9, **where),
        "attention-rollout.min.0": attention_rollout(attention, "min", 0.0, **where),
        "attention-rollout.mean.0.5": attention_rollout(attention, "mean", 0.5, **where),
        "attention-rollout.start1": attention_rollout(attention, start=1, **where),
        "gradient-rollout": gradient_rollout(attention, gradients, **where),
        "gradient-rollout.0.9": gradient_rollout(attention, gradients, 0.9, **where),
        "gae": gae(attention, gradients, **where),
    }
    return maps


def least_gap(attention: Sequence[Tensor], gradients: Sequence[Tensor]) -> float:
    """The least `discard_gap` of any discard that `attention_maps` does."""
    gaps = [
        discard_gap(FUSIONS[fusion](a), ratio) for a in attention for fusion, ratio in (("max", 0.9), ("mean", 0.5))
    ]
    return min(gaps + [discard_gap(f, 0.9) for f in gradient_flow(attention, gradients)])
