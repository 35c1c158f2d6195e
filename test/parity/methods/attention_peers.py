"""The peers' own code of the attention family, run from checkouts: nothing of it is copied here.

`Peers(folder)` reads `folder/OWNER+NAME/repo` (or `folder/NAME`), git directories or work trees. Single functions and
classes are taken out of a file by their names, since the files import what nobody needs here (tensorflow, datasets).
"""

from __future__ import annotations

import ast
import json
import math
import subprocess
from collections.abc import Sequence
from pathlib import Path

import networkx as nx
import numpy as np
import torch
from torch import Tensor, nn

REPOSITORIES = {
    "vit-explain": "jacobgil/vit-explain",
    "transformer-explainability": "hila-chefer/Transformer-Explainability",
    "transformer-mm-explainability": "hila-chefer/Transformer-MM-Explainability",
    "attention-flow": "samiraabnar/attention_flow",
    "norm-analysis": "gorokoba560/norm-analysis-of-transformer",
    "value-zeroing": "hmohebbi/ValueZeroing",
}


class Peers:
    def __init__(self, folder: Path):
        self.places = {}
        for key, name in REPOSITORIES.items():
            owner, _, repository = name.partition("/")
            for place in (folder / f"{owner}+{repository}" / "repo", folder / repository):
                if place.exists():
                    self.places[key] = place
        missing = [REPOSITORIES[key] for key in REPOSITORIES if key not in self.places]
        if missing:
            raise SystemExit(f"{folder} lacks checkouts of {', '.join(missing)}")

    def git(self, key: str, *arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(self.places[key]), *arguments], capture_output=True, text=True, check=True
        ).stdout

    def commits(self) -> dict[str, str]:
        return {REPOSITORIES[key]: self.git(key, "rev-parse", "HEAD").strip() for key in self.places}

    def source(self, key: str, path: str) -> str:
        text = self.git(key, "show", f"HEAD:{path}")
        if not path.endswith(".ipynb"):
            return text
        cells = ("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")
        return "\n".join(
            cell for cell in cells if not any(line.lstrip().startswith(("!", "%")) for line in cell.splitlines())
        )

    def take(self, key: str, path: str, *names: str) -> list:
        """Functions and classes of a file by name."""
        tree = ast.parse(self.source(key, path))
        kept = [node for node in tree.body if getattr(node, "name", None) in names]
        assert {node.name for node in kept} == set(names), (path, names)
        scope = {"torch": torch, "nn": nn, "np": np, "nx": nx, "math": math}
        exec(compile(ast.Module(kept, []), path, "exec"), scope)
        return [scope[name] for name in names]


def vit_explain_rollout(peers: Peers, model: nn.Module, image: Tensor, fusion: str, ratio: float) -> Tensor:
    """[1, 3, H, W] to the mask [h, w]; hooks modules named `attn_drop`."""
    (cls,) = peers.take("vit-explain", "vit_rollout.py", "VITAttentionRollout")
    cls.__call__.__globals__.update(rollout=peers.take("vit-explain", "vit_rollout.py", "rollout")[0])
    return torch.from_numpy(cls(model, head_fusion=fusion, discard_ratio=ratio)(image))


def vit_explain_gradient_rollout(peers: Peers, model: nn.Module, image: Tensor, target: int, ratio: float) -> Tensor:
    (cls,) = peers.take("vit-explain", "vit_grad_rollout.py", "VITAttentionGradRollout")
    cls.__call__.__globals__.update(grad_rollout=peers.take("vit-explain", "vit_grad_rollout.py", "grad_rollout")[0])
    return torch.from_numpy(cls(model, discard_ratio=ratio)(image, target))


def vit_explain_functions(
    peers: Peers, attention: Sequence[Tensor], score_gradients: Sequence[Tensor] | None, ratio: float, fusion=""
) -> Tensor:
    """The functions behind those classes, on attention [1, heads, N, N]; they take square grids only."""
    attention = [a.clone() for a in attention]
    if score_gradients is None:
        (function,) = peers.take("vit-explain", "vit_rollout.py", "rollout")
        return torch.from_numpy(function(attention, ratio, fusion))
    (function,) = peers.take("vit-explain", "vit_grad_rollout.py", "grad_rollout")
    return torch.from_numpy(function(attention, list(reversed(score_gradients)), ratio))


def chefer_rollout(peers: Peers, attention: Sequence[Tensor], start: int) -> Tensor:
    """Baselines.generate_rollout behind its forward pass: attention [B, heads, N, N] to class rows [B, N - 1]."""
    (compute,) = peers.take(
        "transformer-explainability", "baselines/ViT/ViT_explanation_generator.py", "compute_rollout_attention"
    )
    return compute([a.sum(dim=1) / a.shape[1] for a in attention], start_layer=start)[:, 0, 1:]


def chefer_gae(peers: Peers, attention: Sequence[Tensor], gradients: Sequence[Tensor], start: int = 0) -> Tensor:
    """The loop of the ViT notebook's generate_relevance with its two rules, one image: [1, heads, N, N] to [N - 1]."""
    average, apply = peers.take(
        "transformer-mm-explainability",
        "Transformer_MM_explainability_ViT.ipynb",
        "avg_heads",
        "apply_self_attention_rules",
    )
    relevance = torch.eye(attention[0].shape[-1], dtype=attention[0].dtype)
    for a, g in list(zip(attention, gradients))[start:]:
        relevance = relevance + apply(relevance, average(a, g))
    return relevance[0, 1:]


def attention_flow(peers: Peers, layers: np.ndarray, source: int) -> np.ndarray:
    """compute_node_flow for one token of the last layer; layers [L, N, N] with residual, rows summing to 1."""
    adjacency, flows = peers.take("attention-flow", "attention_graph_util.py", "get_adjmat", "compute_node_flow")
    count, size, _ = layers.shape
    names = [str(i) for i in range(size)]
    matrix, labels = adjacency(layers, names)
    # draw_attention_graph, which makes the graph, draws it with calls that networkx no longer has.
    graph = nx.from_numpy_array(matrix, create_using=nx.DiGraph())
    nx.set_edge_attributes(graph, {(a, b): matrix[a, b] for a, b in graph.edges}, "capacity")
    inputs = [key for key, index in labels.items() if index < size]
    values = flows(graph, labels, inputs, [f"L{count}_{source}"], length=size)
    return values[count * size + source, (count - 1) * size : count * size]


def joint_attention(peers: Peers, matrices: np.ndarray, residual: bool) -> np.ndarray:
    (function,) = peers.take("attention-flow", "attention_graph_util.py", "compute_joint_attention")
    return function(matrices, add_residual=residual)


def norm_analysis(
    peers: Peers, hidden: Tensor, attention: Tensor, value: Tensor, dense: nn.Linear, norm: nn.LayerNorm, mixed: Tensor
) -> dict[str, Tensor]:
    """The norms of both papers, [B, N, N], and the mixing ratios [B, N]."""

    class Size:
        num_attention_heads, hidden_size = attention.shape[1], hidden.shape[-1]

    file = "transformers/src/transformers/modeling_bert.py"
    (first,) = peers.take("norm-analysis", f"emnlp2020/{file}", "BertNormOutput")
    (second,) = peers.take("norm-analysis", f"emnlp2021/{file}", "BertNormOutput")
    _, _, summed = first(Size)(hidden, attention, value, dense)
    _, again, residual, normed, *ratios = second(Size)(hidden, attention, value, dense, norm, mixed)
    assert torch.allclose(summed, again, atol=1e-5)
    return dict(
        zip(
            ("2020", "residual", "residual-norm", "ratio.2020", "ratio.residual", "ratio.residual-norm"),
            (summed, residual, normed, *ratios),
        )
    )


def value_zeroing_rollout(peers: Peers, matrices: np.ndarray) -> np.ndarray:
    (function,) = peers.take("value-zeroing", "scoring/value_zeroing.py", "compute_joint_attention")
    return function(matrices, res=False)
