"""Trains the bundled models on the shapes of shapes.py and saves them as TorchScript archives.

    python models/train.py --model resnet
    python models/train.py --model vit --out /tmp/vit-first.pt
    python models/train.py --model vit --start-from /tmp/vit-first.pt --epochs 1 --images 16000 --rate 6e-4 --seed 2

Both learn from pictures with one to three objects: the target is equal shares among the classes present, so
that softmax stays meaningful. The masks say, patch by patch, which class lies where, and both models hear of
it: the ResNet through its own fc on each cell of layer4, the ViT through training-only linear heads on the
normalised tokens of two blocks ("token labelling", Jiang et al., 2021, arXiv:2104.10858) and through a term
that draws the class token's attention in the last two blocks onto objects of any class. A short second run
(--start-from) refines the ViT: it sees all patches, and a term on the gradient itself draws the evidence for one
class of each picture onto that class's object.
bfloat16 autocast, AdamW, warm-up and cosine; the archive is float32.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cards import MEAN, STD, write_card
from resnet import ResNet
from shapes import LABELS, MOST_OBJECTS, PATCH, SIZE, write_dataset
from vit import VisionTransformer

HERE = Path(__file__).resolve().parent
GRID = SIZE // PATCH


class Shapes:
    """The data set on disk, in shuffled batches, each picture flipped, turned and with its channels permuted."""

    def __init__(self, folder: Path, total: int):
        self.images = np.memmap(folder / "images.u8", np.uint8, "r", shape=(total, SIZE, SIZE, 3))
        self.cover = np.fromfile(folder / "cover.u8", np.uint8).reshape(total, MOST_OBJECTS, GRID, GRID)
        self.classes = np.fromfile(folder / "classes.i8", np.int8).reshape(total, MOST_OBJECTS)
        self.mean = torch.tensor(MEAN).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(STD).view(1, 3, 1, 1) * 255

    def batches(self, size: int, rng: np.random.Generator):
        """(images [n,3,224,224], present [n,classes] of 0 and 1, where [n,classes,14,14] shares of each patch)"""
        order = rng.permutation(len(self.images))
        for first in range(0, len(order) - size + 1, size):
            # Sorted within the batch: the disk is read forwards.
            yield self._batch(np.sort(order[first : first + size]), rng)

    def _batch(self, rows: np.ndarray, rng: np.random.Generator):
        images = torch.from_numpy(self.images[rows]).permute(0, 3, 1, 2)
        classes = torch.from_numpy(self.classes[rows]).long()
        cover = torch.from_numpy(self.cover[rows]).float() / 255
        n = len(rows)
        # One slot more takes what the absent objects scatter.
        where = torch.zeros(n, len(LABELS) + 1, GRID, GRID)
        slot = torch.where(classes < 0, len(LABELS), classes)
        where.scatter_(1, slot[:, :, None, None].expand_as(cover), cover)
        where = where[:, :-1]
        present = torch.zeros(n, len(LABELS) + 1).scatter_(1, slot, 1.0)[:, :-1]
        parts = []
        for part, at in zip(images.chunk(8), where.chunk(8), strict=True):
            part = part[:, torch.from_numpy(rng.permutation(3))]
            turn, flip = int(rng.integers(4)), bool(rng.integers(2))
            part, at = torch.rot90(part, turn, (2, 3)), torch.rot90(at, turn, (2, 3))
            parts.append((part.flip(3), at.flip(3)) if flip else (part, at))
        images = torch.cat([p[0] for p in parts]).float()
        images = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return images, present, torch.cat([p[1] for p in parts])


def shared_cross_entropy(logits: Tensor, present: Tensor) -> Tensor:
    """Cross-entropy to equal shares of the classes present."""
    return F.cross_entropy(logits.float(), present / present.sum(1, keepdim=True))


class ResNetLearner(nn.Module):
    """The image's loss, and the same fc's loss at each cell of layer4."""

    def __init__(self, model: ResNet):
        super().__init__()
        self.model = model
        self.features: Tensor | None = None
        model.layer4.register_forward_hook(self._keep)

    def _keep(self, _module, _inputs, output):
        self.features = output

    def losses(self, x: Tensor, present: Tensor, where: Tensor, progress: float):
        logits = self.model(x)
        cells = F.linear(self.features.float().permute(0, 2, 3, 1), self.model.fc.weight, self.model.fc.bias)
        share = F.avg_pool2d(where, where.shape[-1] // cells.shape[1]).permute(0, 2, 3, 1)
        covered = share.sum(-1, keepdim=True).clamp(0, 1)
        # A cell without any object speaks for no class: equal shares for all of them.
        target = share + (1 - covered) / share.shape[-1]
        target = target / target.sum(-1, keepdim=True)
        weight = covered[..., 0] + 0.3
        cell = -(target * F.log_softmax(cells, -1)).sum(-1)
        return logits, {
            "image": shared_cross_entropy(logits, present),
            "cells": (weight * cell).sum() / weight.sum(),
        }


class VitLearner(nn.Module):
    """The class token's loss, the labels of the tokens, and the place of the class token's attention.

    Attention is written out here, since the backward pass of the fused CPU kernel takes half of a step. For
    the first part of the training each picture shows only a random half of its patches, which halves the
    work; the last part shows them all.
    """

    shown_in_full = 0.7

    def __init__(self, model: VisionTransformer, refining: bool = False):
        super().__init__()
        self.model = model
        self.refining = refining
        depth = len(model.blocks)
        dim = model.head.in_features
        self.labelled = (depth // 2, depth - 1)
        self.readers = nn.ModuleDict({str(i): nn.Linear(dim, len(LABELS) + 1) for i in self.labelled})
        if refining:
            # The readers are not in the archive: from zero they learn anew before they pull at the tokens.
            for p in self.readers.parameters():
                nn.init.zeros_(p)

    def _attend(self, attention: nn.Module, x: Tensor):
        n, tokens, dim = x.shape
        heads, size = attention.num_heads, attention.head_dim
        qkv = attention.qkv(x).reshape(n, tokens, 3, heads, size).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.reshape(3, n * heads, tokens, size).unbind(0)
        a = torch.softmax(torch.bmm(q * size**-0.5, k.transpose(1, 2)), -1, dtype=q.dtype)
        y = torch.bmm(a, v).view(n, heads, tokens, size).transpose(1, 2).reshape(n, tokens, dim)
        return attention.proj(y), a[:, 0].float().view(n, heads, tokens).mean(1)

    def losses(self, x: Tensor, present: Tensor, where: Tensor, progress: float):
        m = self.model
        tokens = m.patch_embed(x) + m.pos_embed[:, 1:]
        share = where.flatten(2).transpose(1, 2)
        if progress < self.shown_in_full and not self.refining:
            n, count, dim = tokens.shape
            kept = torch.rand(n, count).argsort(1)[:, : count // 2, None]
            tokens = tokens.gather(1, kept.expand(-1, -1, dim))
            share = share.gather(1, kept.expand(-1, -1, share.shape[-1]))
        covered = share.sum(-1).clamp(0, 1)
        target = torch.cat((share, (1 - covered)[..., None]), -1)
        target = target / target.sum(-1, keepdim=True)
        first = (m.cls_token + m.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        h = torch.cat((first, tokens), 1)
        labels, place = 0.0, 0.0
        for i, block in enumerate(m.blocks):
            normed = block.norm1(h)
            if i in self.labelled:
                read = self.readers[str(i)](normed[:, 1:]).float()
                loss = -(target * F.log_softmax(read, -1)).sum(-1)
                weight = covered + 0.2
                labels = labels + (weight * loss).sum() / weight.sum()
            mixed, row = self._attend(block.attn, normed)
            if i >= len(m.blocks) - 2:
                on_objects = (row[:, 1:] * covered).sum(1) / row[:, 1:].sum(1)
                place = place - on_objects.clamp_min(1e-4).log().mean()
            h = h + mixed
            h = h + block.mlp(block.norm2(h))
        logits = m.head(m.norm(h[:, 0]))
        losses = {
            "image": shared_cross_entropy(logits, present),
            "tokens": labels / len(self.labelled),
            "place": 0.1 * place,
        }
        if self.refining:
            losses["evidence"] = 0.5 * self._evidence(logits, normed, present, share)
        return logits, losses

    def _evidence(self, logits: Tensor, normed: Tensor, present: Tensor, share: Tensor) -> Tensor:
        """Draws the evidence for one class of each picture, as Grad-CAM reads it at the last norm1, onto its object.

        The gradient is differentiated itself, through the last block alone. The map is scaled to its own
        spread, so that only its form counts.
        """
        asked = torch.multinomial(present, 1)
        (slope,) = torch.autograd.grad(logits.gather(1, asked).float().sum(), normed, create_graph=True)
        evidence = (slope[:, 1:].float().mean(1, keepdim=True) * normed[:, 1:].float()).sum(-1)
        evidence = evidence / (evidence.std(1, keepdim=True) + 1e-6)
        inside = share.gather(2, asked[:, :, None].expand(-1, share.shape[1], 1))[..., 0]
        return -((2 * evidence).softmax(1) * inside).sum(1).clamp_min(1e-4).log().mean()


def learner_of(name: str, start_from: Path | None) -> nn.Module:
    model = (ResNet if name == "resnet" else VisionTransformer)(len(LABELS))
    if start_from:
        model.load_state_dict(stored_weights(start_from))
    if name == "resnet":
        return ResNetLearner(model.to(memory_format=torch.channels_last))
    return VitLearner(model, refining=start_from is not None)


def stored_weights(path: Path) -> dict[str, Tensor]:
    """The state dict of a TorchScript archive or of a --checkpoint."""
    try:
        return torch.jit.load(str(path)).state_dict()
    except RuntimeError:
        return torch.load(path, weights_only=True)


def save_archive(model: nn.Module, path: Path) -> None:
    """Traced in eval mode with gradients on. No trace check: it would compare the trace with itself."""
    model = model.to(memory_format=torch.contiguous_format).eval()
    example = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    torch.jit.trace(model, example, check_trace=False).save(str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("resnet", "vit"), required=True)
    parser.add_argument("--epochs", type=int, help="default: 3 (resnet), 7 (vit)")
    parser.add_argument("--images", type=int, default=24000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, help="peak learning rate; default: 2e-3 (resnet), 1.5e-3 (vit)")
    parser.add_argument("--seed", type=int, default=1, help="of the data, the weights and the order")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, help="where the data is drawn to, once; default: /tmp/shapes-SEED-IMAGES")
    parser.add_argument("--checkpoint", type=Path, help="write the state here after each epoch")
    parser.add_argument(
        "--start-from",
        type=Path,
        help=(
            "refine these weights (archive or checkpoint) with a schedule of its own; the ViT then sees all "
            "patches and learns where its evidence belongs"
        ),
    )
    parser.add_argument("--out", type=Path, help="the archive; default: beside this script")
    args = parser.parse_args()
    epochs = args.epochs or {"resnet": 3, "vit": 7}[args.model]
    peak = args.rate or {"resnet": 2e-3, "vit": 1.5e-3}[args.model]
    out = args.out or HERE / f"{args.model}-tiny-shapes.pt"
    torch.set_num_threads(args.threads)
    folder = args.data or Path(f"/tmp/shapes-{args.seed}-{args.images}")
    data = Shapes(write_dataset(folder, args.seed, args.images), args.images)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    learner = learner_of(args.model, args.start_from)
    decayed = [p for p in learner.parameters() if p.ndim > 1]
    free = [p for p in learner.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": free, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98))
    each = args.images // args.batch
    total = epochs * each
    warm = min(200, total // 5)
    step, start = 0, time.time()
    for _ in range(epochs):
        learner.train()
        right = seen = 0
        means: dict[str, float] = {}
        for x, present, where in data.batches(args.batch, rng):
            rate = peak * min((step + 1) / warm, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / total)))
            for group in optimizer.param_groups:
                group["lr"] = rate
            with torch.autocast("cpu", torch.bfloat16):
                logits, losses = learner.losses(x, present, where, step / total)
            loss = sum(losses.values())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            optimizer.step()
            hit = present.gather(1, logits.detach().float().argmax(1, keepdim=True))
            right, seen = right + float(hit.sum()), seen + len(x)
            for key, value in losses.items():
                means[key] = 0.95 * means.get(key, value.item()) + 0.05 * value.item()
            step += 1
            if step % 25 == 0:
                told = " ".join(f"{k} {v:.3f}" for k, v in means.items())
                print(f"{step}/{total} {time.time() - start:.0f}s top-1 present {right / seen:.3f} {told}", flush=True)
                if step % 100 == 0:
                    right = seen = 0
        if args.checkpoint:
            torch.save(learner.model.state_dict(), args.checkpoint)
    minutes = (time.time() - start) / 60
    save_archive(learner.model, out)
    about = {"images": args.images, "epochs": epochs, "batch": args.batch, "rate": peak, "seed": args.seed}
    card = write_card(
        args.model, out, {**about, "threads": args.threads, "minutes": round(minutes, 1)}, args.start_from
    )
    print(f"{out} and {card} after {minutes:.1f} min; next: python models/evaluate.py --model {args.model} --write")


if __name__ == "__main__":
    main()
