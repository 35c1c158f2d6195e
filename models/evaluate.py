"""Judges a bundled model on images of a seed that it never saw, and writes the figures into its card.

    python models/evaluate.py --model resnet --write
    python models/evaluate.py --model vit --write

Accuracy: images with one object, top-1. Pointing: images with two objects, each object's class asked in turn;
the share of maps whose maximum lies in the asked object's exact mask. Without --write nothing is changed.
Exit code 1 when a figure falls short of what the project asks.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cards import MEAN, STD, add_figures
from maps import points_inside, resnet_maps, vit_maps
from resnet import ResNet
from shapes import LABELS, sample
from vit import VisionTransformer

HERE = Path(__file__).resolve().parent
HELD_OUT = 1001
LEAST_ACCURACY = {"resnet": 0.98, "vit": 0.95}
LEAST_POINTING = 0.90


def images(seed: int, first: int, last: int, objects: int):
    """(x [n,3,224,224] preprocessed, masks [n,objects,224,224], classes [n,objects])"""
    scenes = [sample(seed, i, objects) for i in range(first, last)]
    x = torch.from_numpy(np.stack([s.image for s in scenes])).permute(0, 3, 1, 2).float() / 255
    x = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    masks = torch.from_numpy(np.stack([s.masks for s in scenes]))
    return x, masks, torch.tensor([s.classes for s in scenes])


def load(kind: str, archive: Path | None, checkpoint: Path | None) -> nn.Module:
    """The Python twin of an archive, with its weights; checked to give the archive's logits."""
    model = (ResNet if kind == "resnet" else VisionTransformer)(len(LABELS)).eval()
    if checkpoint is not None:
        model.load_state_dict(torch.load(checkpoint, weights_only=True))
        return model
    loaded = torch.jit.load(str(archive)).eval()
    model.load_state_dict(loaded.state_dict())
    x, _, _ = images(HELD_OUT, 0, 5, 1)
    with torch.no_grad():
        gap = float((model(x) - loaded(x)).abs().max())
    if gap > 1e-4:
        raise SystemExit(f"{archive} is not the model of this script: its logits differ by {gap:.1e}. Train it again.")
    return model


@torch.no_grad()
def accuracy(model: nn.Module, seed: int, count: int, batch: int) -> float:
    right = 0
    for first in range(0, count, batch):
        x, _, classes = images(seed, first, min(first + batch, count), 1)
        right += int((model(x).argmax(1) == classes[:, 0]).sum())
    return right / count


def pointing(model: nn.Module, kind: str, seed: int, count: int, batch: int):
    """Per method, the share of cases that point into the asked object; and the share where both classes lead."""
    hits: dict[str, list[Tensor]] = {}
    both = 0
    by_class = {label: [0, 0] for label in LABELS}
    make = resnet_maps if kind == "resnet" else vit_maps
    for first in range(0, count, batch):
        # Numbered apart from the single-object images: the same index would repeat their grounds.
        x, masks, classes = images(seed, 10**6 + first, 10**6 + min(first + batch, count), 2)
        with torch.no_grad():
            leading = model(x).topk(2).indices.sort(1).values
        both += int((leading == classes.sort(1).values).all(1).sum())
        for which in range(2):
            for name, maps in make(model, x, classes[:, which]).items():
                inside = points_inside(maps, masks[:, which])
                hits.setdefault(name, []).append(inside)
                if name != "attention-rollout":
                    for label, hit in zip(classes[:, which].tolist(), inside.tolist(), strict=True):
                        by_class[LABELS[label]][0] += hit
                        by_class[LABELS[label]][1] += 1
    shares = {name: round(float(torch.cat(parts).float().mean()), 4) for name, parts in hits.items()}
    return shares, both / count, {label: hit / asked for label, (hit, asked) in by_class.items() if asked}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("resnet", "vit"), required=True)
    parser.add_argument("--archive", type=Path, help="default: the bundled one")
    parser.add_argument("--checkpoint", type=Path, help="judge a state of train.py --checkpoint instead")
    parser.add_argument("--seed", type=int, default=HELD_OUT)
    parser.add_argument("--single", type=int, default=1000, help="images with one object")
    parser.add_argument("--double", type=int, default=400, help="images with two objects")
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="write the figures into the card")
    args = parser.parse_args()
    if args.write and args.checkpoint:
        parser.error("--write is for an archive: a checkpoint has no card")
    torch.set_num_threads(args.threads)
    archive = args.archive or HERE / f"{args.model}-tiny-shapes.pt"
    model = load(args.model, archive, args.checkpoint)
    top1 = accuracy(model, args.seed, args.single, args.batch)
    shares, both, by_class = pointing(model, args.model, args.seed, args.double, args.batch)
    print(f"single objects, top-1: {top1:.1%} of {args.single}")
    print(f"two objects, both lead: {both:.1%} of {args.double}")
    for name, share in shares.items():
        print(f"{name}: {share:.1%} of {2 * args.double} maps point into the asked object")
    worst = sorted(by_class, key=by_class.__getitem__)[:4]
    print("least, over the class-specific methods: " + ", ".join(f"{label} {by_class[label]:.1%}" for label in worst))
    if args.write:
        add_figures(
            archive.with_suffix(".json"),
            {
                "singleObjectTop1": round(top1, 4),
                "images": args.single,
                "twoObjectsBothLead": round(both, 4),
                "seed": args.seed,
            },
            {"cases": 2 * args.double, "seed": args.seed, **shares},
        )
    short = [name for name, share in shares.items() if share < LEAST_POINTING and name != "attention-rollout"]
    if top1 < LEAST_ACCURACY[args.model]:
        short.append("accuracy")
    if short:
        print(f"falls short: {', '.join(short)}", file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
