"""Writes attention-NAME.safetensors: maps of the attention family by the peers' own code, on the shipped ViT and small
archives.

Usage: python test/parity/methods/attention.py PEERS [NAME...]

PEERS holds checkouts of the repositories that attention_peers.py names; torchcam is installed. Maps are [B, h, w], raw,
on the model's grid. `test/methods/attention` holds the options that each one's name stands for.
"""

from __future__ import annotations

import copy
import json
import sys
import warnings
from collections.abc import Callable
from functools import reduce
from pathlib import Path

warnings.filterwarnings("ignore")

from attention_subjects import (
    DroppedAttention,
    HERE,
    Seen,
    Subject,
    archived,
    look,
    output_projection,
    shipped,
    zeroed_value,
)
import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor
from torchcam.methods import LeGrad

import attention_peers as peer
from reference_file import save_reference

ARCHIVES = (
    "torchvision-vit-traced",
    "timm-vit-fused-traced",
    "timm-vit-fused-frozen",
    "timm-deit-distilled-traced",
    "timm-dinov2-registers-traced",
    "timm-vit-average-traced",
)


def normalised(matrix: Tensor) -> Tensor:
    return matrix / matrix.sum(dim=-1, keepdim=True)


def residual(matrix: Tensor, weight: float = 0.5) -> Tensor:
    return (1 - weight) * matrix + weight * torch.eye(matrix.shape[-1], dtype=matrix.dtype)


def joined(matrices: list[Tensor]) -> Tensor:
    """[B, N, N] each, first block first: the last times ... times the first."""
    return reduce(lambda before, matrix: matrix @ before, matrices)


def settings(subject: Subject, seen: Seen) -> dict[str, Tensor]:
    """Choices of the aggregation that no peer offers, by their formulas."""
    a = [x.mean(dim=1) for x in seen.attention]
    rolled = [normalised(residual(x)) for x in a]
    slopes = [x * g for x, g in zip(seen.attention, seen.gradients)]
    maps = {
        "raw.block0.head1": subject.row(seen.attention[0][:, 1]),
        "raw.min": subject.row(seen.attention[-1].amin(dim=1)),
        "raw.patches": subject.patches(seen.attention[-1].mean(dim=1)[:, subject.prefix :].mean(dim=1)),
        "raw.token3": subject.patches(a[-1][:, 3]),
        "rollout.head1": subject.row(joined([normalised(residual(x[:, 1])) for x in seen.attention])),
        "rollout.no-residual": subject.row(joined(a)),
        "rollout.residual-0.8": subject.row(joined([normalised(residual(x, 0.8)) for x in a])),
        "rollout.max.not-normalised": subject.row(joined([residual(x.amax(dim=1)) for x in seen.attention])),
        "rollout.sum": subject.row(sum(rolled)),
        "rollout.end0": subject.row(rolled[0]),
        "rollout.patches": subject.patches(joined(rolled)[:, subject.prefix :].mean(dim=1)),
        "gradient.weighted": subject.row(joined([normalised(residual(x.mean(dim=1).relu())) for x in slopes])),
        "gradient.max": subject.row(joined([normalised(residual(x.relu().amax(dim=1))) for x in slopes])),
        "gradient.head0": subject.row(joined([normalised(residual(x[:, 0].relu())) for x in slopes])),
        "gradient.sum.no-residual": subject.row(sum(x.relu().mean(dim=1) for x in slopes)),
    }
    if subject.prefix == 2:
        maps["rollout.distillation"] = subject.patches(joined(rolled)[:, 1])
    return maps


def published(subject: Subject, seen: Seen, peers: peer.Peers) -> dict[str, Tensor]:
    """Rollouts and GAE by the peers' code, which takes one token before the patches."""
    images = range(len(subject.targets))
    rows: dict[str, Callable[[int], Tensor]] = {
        "chefer.rollout": lambda i: peer.chefer_rollout(peers, one(seen.attention, i), 0)[0],
        "chefer.rollout.start1": lambda i: peer.chefer_rollout(peers, one(seen.attention, i), 1)[0],
        "chefer.gae": lambda i: peer.chefer_gae(peers, one(seen.attention, i), one(seen.gradients, i)),
        "chefer.gae.last": lambda i: peer.chefer_gae(peers, one(seen.attention, i), one(seen.gradients, i), start=-1),
        "abnar.rollout": lambda i: torch.from_numpy(
            peer.joint_attention(peers, heads(seen, i), True)[-1, 0, 1:]
        ).float(),
        "abnar.rollout.no-residual": lambda i: torch.from_numpy(
            peer.joint_attention(peers, heads(seen, i), False)[-1, 0, 1:]
        ).float(),
        "mmeendez8.rollout": lambda i: mmeendez8(one(seen.attention, i)),
        "chefer.attention-grad-cam": lambda i: attention_grad_cam(
            subject, seen.attention[-1][i], seen.gradients[-1][i]
        ),
    }
    maps = {
        name: torch.stack([of(i).detach().unflatten(-1, subject.grid) for i in images]) for name, of in rows.items()
    }
    if subject.grid[0] != subject.grid[1]:
        return maps  # vit-explain lays every map out as a square
    scores = [a * (g - (a * g).sum(dim=-1, keepdim=True)) for a, g in zip(seen.attention, seen.gradients)]
    for fusion, ratio in (("max", 0.9), ("mean", 0.9), ("min", 0.0), ("max", 0.0)):
        maps[f"vit-explain.{fusion}.{ratio:g}"] = torch.stack(
            [peer.vit_explain_functions(peers, one(seen.attention, i), None, ratio, fusion) for i in images]
        )
    for ratio in (0.9, 0.0):
        maps[f"vit-explain.gradient.{ratio:g}"] = torch.stack(
            [peer.vit_explain_functions(peers, one(seen.attention, i), one(scores, i), ratio) for i in images]
        )
    return maps


def one(values: list[Tensor], image: int) -> list[Tensor]:
    return [value[image : image + 1].detach() for value in values]


def heads(seen: Seen, image: int) -> np.ndarray:
    return torch.stack([a[image].detach().mean(dim=0) for a in seen.attention]).double().numpy()


def mmeendez8(attention: list[Tensor]) -> Tensor:
    """The steps of the article "CNNs & Transformers Explainability" of 2021, which is prose and no package."""
    probabilities = torch.stack(attention).squeeze(1).mean(dim=1)
    probabilities = 0.5 * probabilities + 0.5 * torch.eye(probabilities.size(-1))
    probabilities = probabilities / probabilities.sum(dim=-1).unsqueeze(-1)
    return reduce(lambda before, layer: layer @ before, probabilities)[0, 1:]


def attention_grad_cam(subject: Subject, attention: Tensor, gradient: Tensor) -> Tensor:
    """The steps of Baselines.generate_cam_attn (Transformer-Explainability), whose grid is fixed at 14 x 14."""
    weights = gradient[:, 0, 1:].reshape(-1, *subject.grid).mean(dim=[1, 2], keepdim=True)
    return (attention[:, 0, 1:].reshape(-1, *subject.grid) * weights).mean(dim=0).clamp(min=0).flatten()


def check_vit_explain(subject: Subject, peers: peer.Peers, maps: dict[str, Tensor]) -> dict[str, float]:
    """That the whole peer, hooks included, gives what its functions gave: what it hooks is the surprise."""
    model = copy.deepcopy(subject.model).requires_grad_(True)
    for block in model.blocks:
        block.attn = DroppedAttention(block.attn)
    differences = {}
    for fusion, ratio in (("max", 0.9), ("mean", 0.9), ("min", 0.0)):
        whole = torch.stack(
            [peer.vit_explain_rollout(peers, model, image[None], fusion, ratio) for image in subject.images]
        )
        differences[f"{fusion}.{ratio:g}"] = (whole - maps[f"vit-explain.{fusion}.{ratio:g}"]).abs().max().item()
    for ratio in (0.9, 0.0):
        whole = torch.stack(
            [
                peer.vit_explain_gradient_rollout(peers, copy.deepcopy(model), image[None], target, ratio)
                for image, target in zip(subject.images, subject.targets)
            ]
        )
        differences[f"gradient.{ratio:g}"] = (whole - maps[f"vit-explain.gradient.{ratio:g}"]).abs().max().item()
    return differences


def flows(subject: Subject, seen: Seen, peers: peer.Peers, images: int) -> dict[str, Tensor]:
    """Attention flow by networkx, or by scipy's exact integers where networkx would take hours."""
    layers = [[normalised(residual(a[i].detach().double().mean(dim=0))) for a in seen.attention] for i in range(images)]
    size = layers[0][0].shape[-1]
    if not subject.class_token:
        # The head's mean over patches as one more layer of the graph.
        pool = torch.zeros(size, size, dtype=torch.float64)
        pool[:, subject.prefix :] = 1 / (size - subject.prefix)
        layers = [[*each, pool] for each in layers]
    solve = (lambda each: peer.attention_flow(peers, each, 0)) if size < 50 else integer_flow
    rows = [torch.from_numpy(solve(torch.stack(each).numpy())) for each in layers]
    return {"flow": subject.patches(torch.stack(rows)).float()}


def integer_flow(layers: np.ndarray) -> np.ndarray:
    """The same flows from token 0, capacities as integers of 1e-8: exact up to that."""
    count, size, _ = layers.shape
    above, below = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    edges = [(layer * size + above.ravel(), (layer - 1) * size + below.ravel()) for layer in range(1, count + 1)]
    capacity = np.rint(layers * 1e8).astype(np.int32).reshape(count, -1)
    total = (count + 1) * size
    graph = csr_array(
        coo_array(
            (
                np.concatenate(list(capacity)),
                (np.concatenate([f for f, _ in edges]), np.concatenate([t for _, t in edges])),
            ),
            shape=(total, total),
        )
    )
    values = np.array(
        [maximum_flow(graph, count * size, target).flow_value for target in range(size)], dtype=np.float64
    )
    return values / values.sum()


def norms(subject: Subject, seen: Seen, peers: peer.Peers) -> dict[str, Tensor]:
    found = []
    for index, block in enumerate(subject.blocks):
        second = block.ln_2 if hasattr(block, "ln_2") else block.norm2
        found.append(
            peer.norm_analysis(
                peers,
                seen.entered[index],
                seen.attention[index],
                seen.value[index],
                output_projection(block),
                second,
                seen.mixed[index],
            )
        )
    maps = {}
    for variant in ("2020", "residual", "residual-norm"):
        matrices = [each[variant].detach() for each in found]
        maps[f"norms.{variant}"] = subject.row(matrices[-1])
        maps[f"norms.{variant}.block0"] = subject.row(matrices[0])
        shares = [normalised(matrix) for matrix in matrices]
        maps[f"norms.{variant}.rollout"] = subject.row(
            joined([normalised(residual(x)) if variant == "2020" else x for x in shares])
        )
        ratios = [each[f"ratio.{variant}"].detach() for each in found]
        maps[f"norms.{variant}.mixing"] = ratios[-1].mean(dim=-1)
        maps[f"norms.{variant}.mixing.rollout"] = torch.stack(ratios).mean(dim=(0, 2))
        maps[f"norms.{variant}.row-mixing"] = (
            ratios[-1][:, 0] if subject.class_token else ratios[-1][:, subject.prefix :].mean(dim=-1)
        )
    return maps


@torch.no_grad()
def zeroing(subject: Subject, peers: peer.Peers, blocks: list[int]) -> dict[str, Tensor]:
    """Value Zeroing's loop over layers and tokens, in float64: 1 - cos of nearly equal vectors has no digits in
    float32."""
    exact = Subject(
        copy.deepcopy(subject.model).double(),
        subject.images.double(),
        subject.targets,
        subject.grid,
        subject.prefix,
        subject.class_token,
        "",
    )
    with torch.enable_grad():
        seen = look(exact)
    matrices = []
    for index in blocks:
        block, before, after = exact.blocks[index], seen.entered[index].detach(), seen.left[index].detach()
        matrix = torch.zeros_like(seen.attention[index][:, 0]).detach()
        for token in range(before.shape[1]):
            with zeroed_value(token), torch.enable_grad():  # without a graph nn.MultiheadAttention takes another path
                changed = block(before.clone().requires_grad_(True)).detach()
            matrix[:, :, token] = 1 - torch.cosine_similarity(changed, after, dim=-1, eps=0)
        matrices.append(normalised(matrix))
    maps = {"zeroing": subject.row(matrices[-1])}
    if len(blocks) > 1:
        every = torch.stack(matrices, dim=1).numpy()
        rolled = torch.from_numpy(np.stack([peer.value_zeroing_rollout(peers, each)[-1] for each in every]))
        maps |= {"zeroing.block0": subject.row(matrices[0]), "zeroing.rollout": subject.row(rolled)}
    return {name: value.float() for name, value in maps.items()}


def le_grad(subject: Subject, seen: Seen, pooling: str, blocks: range) -> Tensor:
    relevance = []
    for index in blocks:
        tokens = seen.left[index]
        if pooling == "mean":
            tokens = tokens.mean(dim=1, keepdim=True).expand_as(tokens)
        score = subject.classify(tokens)[range(len(subject.targets)), subject.targets].sum()
        (gradient,) = torch.autograd.grad(score, seen.attention[index], retain_graph=True)
        relevance.append(gradient.relu().mean(dim=(1, 2)))
    return subject.patches(torch.stack(relevance).mean(dim=0))


def torchcam_le_grad(subject: Subject, blocks: list[str]) -> Tensor:
    model = copy.deepcopy(subject.model).requires_grad_(True)
    with LeGrad(model, blocks) as extractor:
        scores = model(subject.images)
        return extractor(subject.targets[0], scores, normalized=False)[0].detach()


def make(name: str, peers: peer.Peers) -> None:
    small = name != "vit-tiny-shapes"
    subject = archived(name) if small else shipped()
    seen = look(subject)
    maps = settings(subject, seen)
    checks: dict[str, dict[str, float]] = {}
    if subject.class_token and subject.prefix == 1:
        maps |= published(subject, seen, peers)
        if not small:
            checks["vit-explain with its hooks"] = check_vit_explain(subject, peers, maps)
    maps |= flows(subject, seen, peers, len(subject.targets) if small else 1)
    maps |= norms(subject, seen, peers)
    depth = len(subject.blocks)
    maps |= zeroing(subject, peers, list(range(depth)))
    for pooling in ("mean", "model"):
        maps[f"le-grad.{pooling}"] = le_grad(subject, seen, pooling, range(depth))
    maps["le-grad.mean.last"] = le_grad(subject, seen, "mean", range(depth - 1, depth))
    if name.startswith("torchvision"):
        layers = [f"encoder.layers.encoder_layer_{i}" for i in range(depth)]
        maps["le-grad.torchcam"] = torchcam_le_grad(subject, layers)
        maps["le-grad.torchcam.last"] = torchcam_le_grad(subject, layers[-1:])
        checks["torchcam LeGrad"] = {
            "le-grad.mean": (maps["le-grad.torchcam"] - maps["le-grad.mean"]).abs().max().item()
        }
    tensors = {"maps." + key: value.detach().float().contiguous() for key, value in maps.items()}
    assert all(torch.isfinite(value).all() for value in tensors.values())
    tensors["targets"] = torch.tensor(subject.targets)
    if small:
        tensors["input"] = subject.images
    metadata = {
        "note": subject.note,
        "versions": json.dumps({module.__name__: module.__version__ for module in (torch, np)}),
        "commits": json.dumps(peers.commits()),
        "checks": json.dumps(checks),
    }
    save_reference(tensors, HERE / f"attention-{name}.safetensors", metadata)
    print(name, {key: f"{value:.1e}" for each in checks.values() for key, value in each.items()})


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    found = peer.Peers(Path(sys.argv[1]))
    torch.manual_seed(0)
    for subject_name in sys.argv[2:] or (*ARCHIVES, "vit-tiny-shapes"):
        make(subject_name, found)
