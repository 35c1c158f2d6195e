"""Transformer-Explainability's own layers, blocks and rollout (Chefer, Gur & Wolf, CVPR 2021) around a subject's
weights.

Nothing of that repository is copied: its files are taken out of a checkout and imported.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from attention_subjects import Subject, look

REPOSITORY = "hila-chefer/Transformer-Explainability"


class Chefer:
    def __init__(self, peers: Path):
        owner, name = REPOSITORY.split("/")
        checkout = next(place for place in (peers / f"{owner}+{name}" / "repo", peers / name) if place.exists())
        self.commit = subprocess.run(
            ["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        folder = tempfile.mkdtemp()
        archive = subprocess.run(
            ["git", "-C", checkout, "archive", "HEAD", "baselines", "modules"], capture_output=True, check=True
        ).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        sys.path.insert(0, folder)
        from baselines.ViT import ViT_LRP
        from modules import layers_ours

        self.vit, self.layers = ViT_LRP, layers_ours

    def whole(self, subject: Subject) -> nn.Module:
        """The peer's VisionTransformer with the subject's weights; one class token, no layer scale."""
        weights = renamed(subject)
        patch = weights["patch_embed.proj.weight"].shape[-1]
        size = tuple(subject.images.shape[-2:])
        model = self.vit.VisionTransformer(
            img_size=size,
            patch_size=patch,
            num_classes=len(weights["head.bias"]),
            embed_dim=weights["norm.weight"].shape[0],
            depth=len(subject.blocks),
            num_heads=heads_of(subject),
            mlp_ratio=ratio_of(weights),
            qkv_bias=True,
        )
        model.load_state_dict(weights)
        model.norm.eps = epsilon_of(subject)
        for block in model.blocks:
            block.norm1.eps = block.norm2.eps = epsilon_of(subject)
        return model.to(subject.images.dtype).eval()

    def whole_map(self, model: nn.Module, image: Tensor, target: int, start: int) -> Tensor:
        """generate_LRP without its `.cuda()`."""
        model.zero_grad()
        output = model(image)
        output[0, target].backward(retain_graph=True)
        return model.relprop(
            torch.eye(output.shape[1], dtype=image.dtype)[[target]],
            method="transformer_attribution",
            start_layer=start,
            alpha=1,
        ).detach()


class Propagated(nn.Module):
    """From the tokens that enter the first block to the logits, in the peer's layers, with whatever head the subject
    has."""

    def __init__(self, chefer: Chefer, subject: Subject):
        super().__init__()
        self.chefer, self.subject = chefer, subject
        weights, layers = renamed(subject), chefer.layers
        # timm normalises what is averaged, not what is averaged from.
        self.averages_first = "fc_norm.weight" in weights
        norm = "fc_norm" if self.averages_first else "norm"
        dim = weights[f"{norm}.weight"].shape[0]
        self.blocks = nn.ModuleList()
        for index, original in enumerate(subject.blocks):
            block = chefer.vit.Block(dim, heads_of(subject), mlp_ratio=ratio_of(weights), qkv_bias=True)
            prefix = f"blocks.{index}."
            block.load_state_dict(
                {
                    key[len(prefix) :]: value
                    for key, value in weights.items()
                    if key.startswith(prefix) and ".ls" not in key
                }
            )
            block.norm1.eps = block.norm2.eps = epsilon_of(subject)
            for branch, scale in (("attn", getattr(original, "ls1", None)), ("mlp", getattr(original, "ls2", None))):
                if hasattr(scale, "gamma"):
                    # The peer has no layer scale: a scale lets relevance pass, as the peer's own scale of q k does.
                    getattr(block, branch).register_forward_hook(
                        lambda _module, _inputs, output, gamma=scale.gamma: output * gamma
                    )
            self.blocks.append(block)
        self.norm = layers.LayerNorm(dim, eps=epsilon_of(subject))
        self.norm.load_state_dict({"weight": weights[f"{norm}.weight"], "bias": weights[f"{norm}.bias"]})
        self.heads = nn.ModuleList()
        for name in ("head", "head_dist"):
            if f"{name}.weight" in weights:
                head = layers.Linear(dim, len(weights[f"{name}.bias"]))
                head.load_state_dict({"weight": weights[f"{name}.weight"], "bias": weights[f"{name}.bias"]})
                self.heads.append(head)
        self.selects = nn.ModuleList(layers.IndexSelect() for _ in self.heads)
        self.add = layers.Add()

        class Mean(layers.RelPropSimple):
            def forward(self, tokens: Tensor) -> Tensor:
                return tokens[:, subject.prefix :].mean(dim=1, keepdim=True)

        self.mean = Mean()
        self.to(subject.images.dtype).eval()

    def forward(self, tokens: Tensor) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens)
        if self.averages_first:
            return self.heads[0](self.norm(self.mean(tokens).squeeze(1)))
        tokens = self.norm(tokens)
        if not self.subject.class_token:
            return self.heads[0](self.mean(tokens).squeeze(1))
        logits = [
            head(select(tokens, 1, torch.tensor(i)).squeeze(1))
            for i, (head, select) in enumerate(zip(self.heads, self.selects))
        ]
        return logits[0] if len(logits) == 1 else self.add(logits) / 2

    def relprop(self, relevance: Tensor) -> Tensor:
        if not self.subject.class_token:
            relevance = self.mean.relprop(self.heads[0].relprop(relevance, alpha=1).unsqueeze(1), alpha=1)
        else:
            shares = [relevance] if len(self.heads) == 1 else self.add.relprop(relevance, alpha=1)
            relevance = sum(
                select.relprop(head.relprop(share, alpha=1).unsqueeze(1), alpha=1)
                for head, select, share in zip(self.heads, self.selects, shares)
            )
        # Layer norm lets relevance pass, so that it does not matter on which side of the mean it stands.
        relevance = self.norm.relprop(relevance, alpha=1)
        for block in reversed(self.blocks):
            relevance = block.relprop(relevance, alpha=1)
        return relevance

    def explain(self, tokens: Tensor, target: int) -> SimpleNamespace:
        """Of one image: tokens [1, N, C]. Relevance and gradient of attention, [1, heads, N, N] a block."""
        logits = self(tokens.clone().requires_grad_(True))
        logits[0, target].backward(retain_graph=True)
        bottom = self.relprop(torch.eye(logits.shape[1], dtype=tokens.dtype)[[target]])
        relevance = [block.attn.get_attn_cam().detach() for block in self.blocks]
        gradients = [block.attn.get_attn_gradients().detach() for block in self.blocks]
        return SimpleNamespace(logits=logits.detach(), relevance=relevance, gradients=gradients, bottom=bottom.detach())

    def joint(self, relevance: list[Tensor], gradients: list[Tensor], start: int) -> Tensor:
        """The last lines of the peer's `transformer_attribution`: [1, N, N]."""
        maps = [(g * r).clamp(min=0).mean(dim=1) for r, g in zip(relevance, gradients)]
        return self.chefer.vit.compute_rollout_attention(maps, start_layer=start)


def tokens_of(subject: Subject) -> Tensor:
    """What enters the first block: [B, N, C]."""
    return look(subject).entered[0].detach()


def heads_of(subject: Subject) -> int:
    block = subject.blocks[0]
    return block.self_attention.num_heads if hasattr(block, "self_attention") else block.attn.num_heads


def epsilon_of(subject: Subject) -> float:
    block = subject.blocks[0]
    return block.ln_1.eps if hasattr(block, "ln_1") else block.norm1.eps


def ratio_of(weights: dict[str, Tensor]) -> float:
    hidden, dim = weights["blocks.0.mlp.fc1.weight"].shape
    return hidden / dim


def renamed(subject: Subject) -> dict[str, Tensor]:
    """The weights under timm's names, which are the peer's."""
    weights = subject.model.state_dict()
    if not hasattr(subject.model, "encoder"):
        return weights
    names = [
        ("encoder.layers.encoder_layer_", "blocks."),
        ("ln_1", "norm1"),
        ("ln_2", "norm2"),
        ("self_attention.in_proj_", "attn.qkv."),
        ("self_attention.out_proj", "attn.proj"),
        ("mlp.0", "mlp.fc1"),
        ("mlp.3", "mlp.fc2"),
        ("conv_proj", "patch_embed.proj"),
        ("class_token", "cls_token"),
        ("encoder.pos_embedding", "pos_embed"),
        ("encoder.ln", "norm"),
        ("heads.head", "head"),
    ]
    found = {}
    for key, value in weights.items():
        for old, new in names:
            key = key.replace(old, new)
        found[key] = value
    return found
