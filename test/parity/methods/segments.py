"""Writes segments-MODEL.safetensors: maps of Kernel SHAP and LIME by captum, by scikit-learn and by their definition.

Usage: python test/parity/methods/segments.py [MODEL...]
needs: pip install captum==0.9.0 scikit-learn==1.9.1 scikit-image==0.26.0 saliency==0.2.1

Tensors, of the first image of xrai-MODEL.safetensors: `target`; for every case its name holds the map [32, 32] at every
7th pixel from the 3rd on. captum is given our masks, and its regressions float64: its weights of a million leave
float32 few digits.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import factorial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
import xrai
from captum._utils.models.linear_model import SkLearnLasso, SkLearnLinearRegression
from captum.attr import KernelShap, Lime
from reference_file import save_reference
from sklearn.linear_model import Lasso, Ridge
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

HERE = Path(__file__).parent
SIDE = xrai.SIDE


@dataclass
class Asked:
    """One image as the model gets it [1, 3, H, W], its class, and what is hidden where: labels [H, W]."""

    model: torch.nn.Module
    image: Tensor
    target: int
    labels: Tensor
    baseline: Tensor

    @property
    def count(self) -> int:
        return int(self.labels.max()) + 1

    def seen(self, shows: np.ndarray) -> Tensor:
        kept = torch.from_numpy(shows.astype(np.float32))[self.labels]
        return self.image * kept + self.baseline * (1 - kept)

    def score(self, shows: np.ndarray) -> float:
        with torch.no_grad():
            return self.model(self.seen(shows))[0, self.target].item()


def draws(count: int, sample: int) -> np.ndarray:
    """One number for the size, then one for each segment."""
    return torch.rand(count + 1, generator=torch.Generator().manual_seed(sample)).numpy()


def kernel_masks(count: int, samples: int) -> list[np.ndarray]:
    sizes = np.arange(1, count)
    below = np.cumsum((count - 1) / (sizes * (count - sizes)))
    masks = []
    for sample in range(samples):
        numbers = draws(count, sample)
        size = int(np.searchsorted(below, float(numbers[0]) * below[-1], side="right")) + 1
        mask = np.zeros(count, bool)
        mask[np.argsort(numbers[1:], kind="stable")[:size]] = True
        masks.append(mask)
    return masks


def coin_masks(count: int, samples: int, shows_all_first: bool) -> list[np.ndarray]:
    masks = [draws(count, sample)[1:] < 0.5 for sample in range(samples)]
    if shows_all_first:
        masks[0][:] = True
    return masks


class InDouble:
    """A regression of captum that is handed float64."""

    def fit(self, train_data: DataLoader, **kwargs):
        tensors = [tensor.double() for tensor in train_data.dataset.tensors]
        return super().fit(DataLoader(TensorDataset(*tensors), batch_size=len(tensors[0])), **kwargs)


class LeastSquares(InDouble, SkLearnLinearRegression):
    pass


class ExactLasso(InDouble, SkLearnLasso):
    pass


def asks(masks: list[np.ndarray]) -> Callable[..., Iterator[Tensor]]:
    def perturb(_image: Tensor, **_options) -> Iterator[Tensor]:
        for mask in masks:
            yield torch.from_numpy(mask)[None].long()

    return perturb


def attributed(peer: Lime, asked: Asked, masks: list[np.ndarray], **options) -> np.ndarray:
    peer.perturb_func = asks(masks)
    found = peer.attribute(
        asked.image,
        baselines=asked.baseline,
        target=asked.target,
        feature_mask=asked.labels[None, None],
        n_samples=len(masks),
        **options,
    )
    return found[0, 0].numpy()


def captum_shap(asked: Asked, samples: int) -> np.ndarray:
    peer = KernelShap(asked.model)
    peer.interpretable_model = LeastSquares()
    ends = [np.ones(asked.count, bool), np.zeros(asked.count, bool)]
    return attributed(peer, asked, ends + kernel_masks(asked.count, samples))


def captum_lime(asked: Asked, samples: int) -> np.ndarray:
    peer = Lime(asked.model, interpretable_model=ExactLasso(alpha=0.01, tol=1e-12, max_iter=100_000))
    return attributed(peer, asked, coin_masks(asked.count, samples, False))


def regressed(asked: Asked, samples: int, regression: Ridge | Lasso) -> np.ndarray:
    """As LIME's authors weigh samples."""
    masks = np.stack(coin_masks(asked.count, samples, True)).astype(np.float64)
    distances = 1 - np.sqrt(masks.mean(1))
    weights = np.sqrt(np.exp(-(distances**2) / 0.25**2))
    regression.fit(masks, [asked.score(mask > 0) for mask in masks], sample_weight=weights)
    return regression.coef_[asked.labels.numpy()]


def by_definition(asked: Asked) -> np.ndarray:
    """What each segment adds to each set of others, weighted by the orders in which it comes there."""
    count = asked.count
    scores = {
        shown: asked.score(np.isin(np.arange(count), shown))
        for size in range(count + 1)
        for shown in itertools.combinations(range(count), size)
    }
    values = np.zeros(count)
    for shown, score in scores.items():
        for segment in set(range(count)) - set(shown):
            orders = factorial(len(shown)) * factorial(count - len(shown) - 1) / factorial(count)
            values[segment] += orders * (scores[tuple(sorted((*shown, segment)))] - score)
    return values[asked.labels.numpy()]


def grid(down: int, across: int) -> Tensor:
    rows, columns = torch.arange(SIDE) * down // SIDE, torch.arange(SIDE) * across // SIDE
    return rows[:, None] * across + columns[None]


def maps(subject: xrai.Subject) -> dict[str, Tensor]:
    image, target = subject.images[0], subject.targets[0]
    mean, std = torch.tensor(subject.mean).reshape(3, 1, 1), torch.tensor(subject.std).reshape(3, 1, 1)
    normalized = (torch.from_numpy(image).permute(2, 0, 1) - mean)[None] / std
    superpixels = torch.from_numpy(xrai.labels(image, 150, [250])[0])
    black = (-mean / std).expand_as(normalized)

    def ask(labels: Tensor, baseline: Tensor | None = None) -> Asked:
        none = torch.zeros_like(normalized)
        return Asked(subject.model, normalized, target, labels, none if baseline is None else baseline)

    found = {
        "kernel-shap": captum_shap(ask(superpixels), 150),
        "kernel-shap.patches": captum_shap(ask(grid(4, 4), black), 60),
        "kernel-shap.exact": by_definition(ask(grid(2, 3))),
        "lime": regressed(ask(superpixels), 80, Ridge(alpha=1)),
        "lime.lasso": regressed(ask(grid(4, 4), black), 60, Lasso(alpha=0.05, tol=1e-12, max_iter=100_000)),
        "lime.captum": captum_lime(ask(superpixels), 80),
    }
    return {name: torch.from_numpy(map[3::7, 3::7].astype(np.float32)).contiguous() for name, map in found.items()} | {
        "target": torch.tensor([target])
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or ("efficientnet-lite0", "vit-tiny-shapes"):
        tensors = maps(xrai.SUBJECTS[name]())
        print(name, {key: tensor.unique().numel() for key, tensor in tensors.items()}, flush=True)
        source = "captum 0.9.0, scikit-learn 1.9.1, scikit-image 0.26.0"
        save_reference(tensors, HERE / f"segments-{name}.safetensors", {"source": source})
