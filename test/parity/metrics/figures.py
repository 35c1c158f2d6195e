"""Figures of test/metrics/peers.test.ts, by other packages and by plain PyTorch in float64.

    python test/parity/metrics/figures.py

The map that is judged is the sum of the image's channels, so that all read the same. Needs torch, torchcam, captum,
quantus and grad-cam (the releases that the output names), and of what they pull in numpy, scipy and scikit-learn.
"""

import importlib.metadata
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

warnings.filterwarnings("ignore")
HERE = Path(__file__).parent
HEIGHT, WIDTH, TARGET, SAMPLES = 24, 40, 3, 12
NOISE, RADIUS, SEED = 0.2, 0.02, 7


def pixels(count: int, seed: int) -> torch.Tensor:
    """The images of test/support/models.ts, randomTensor."""
    state, values = seed, np.empty(count * 3 * HEIGHT * WIDTH, np.float32)
    for i in range(len(values)):
        state = (state * 1664525 + 1013904223) % 2**32
        values[i] = state / 2**31 - 1
    return torch.from_numpy(values.reshape(count, 3, HEIGHT, WIDTH))


def draws(shape: tuple[int, ...], kind: str) -> list[torch.Tensor]:
    """What the vocabulary's `noise` draws for each sample."""
    drawn = []
    for sample in range(SAMPLES):
        generator = torch.Generator().manual_seed(SEED * 1000003 + sample)
        drawn.append((torch.randn if kind == "normal" else torch.rand)(shape, generator=generator))
    return drawn


def infidelity(model, image, heat, changes, normalize):
    from captum.metrics import infidelity as captum_infidelity

    def perturb(inputs):
        change = torch.stack(changes).to(inputs)
        return change, inputs - change

    attributions = heat.expand(1, 3, HEIGHT, WIDTH)
    return captum_infidelity(
        lambda x: model(x)[:, TARGET],
        perturb,
        image,
        attributions,
        n_perturb_samples=SAMPLES,
        normalize=normalize,
    ).item()


def sensitivity(image, heat, changes):
    from captum.metrics import sensitivity_max

    # A tuple: of a tensor, captum 0.9 broadcasts each sample against all, and gives sqrt(samples) times the figure.
    return sensitivity_max(
        lambda x: ((x[0] if isinstance(x, tuple) else x).sum(1, keepdim=True),),
        image,
        perturb_func=lambda inputs: inputs + torch.stack(changes).to(inputs),
        n_perturb_samples=SAMPLES,
    ).item()


def correlation(model, image, heat, subsets, size):
    with torch.no_grad():
        whole = model(image)[0, TARGET]
        sums, falls = [], []
        for subset in subsets:
            chosen = torch.zeros(HEIGHT * WIDTH, dtype=torch.bool)
            chosen[torch.argsort(subset.flatten(), descending=True, stable=True)[:size]] = True
            chosen = chosen.view(HEIGHT, WIDTH)
            sums.append(heat[0, 0][chosen].sum().item())
            falls.append((whole - model(image.masked_fill(chosen, 0))[0, TARGET]).item())
    return float(np.corrcoef(sums, falls)[0, 1])


def road(model, image, heat, noises):
    """By pytorch-grad-cam's sparse system, with the vocabulary's noise in the place of its own."""
    sys.path.insert(0, str(HERE.parents[2] / "models"))
    from torchvision_import import import_torchvision

    # The package imports torchvision, whose compiled operators a PyTorch for the CPU does not take.
    import_torchvision()
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    fill = NoisyLinearImputer(noise=0)
    descending = torch.argsort(heat.flatten(), descending=True, stable=True)
    means = {}
    for name, order in (("road-morf", descending), ("road-lerf", descending.flip(0))):
        scores = []
        for sample in range(9):
            removed = torch.zeros(HEIGHT * WIDTH, dtype=torch.bool)
            removed[order[: round((sample + 1) / 10 * HEIGHT * WIDTH)]] = True
            removed = removed.view(HEIGHT, WIDTH)
            filled = fill(image[0].float(), (~removed).float()).double()
            noisy = filled + 0.01 * noises[sample] * removed
            with torch.no_grad():
                scores.append(model(noisy[None]).softmax(1)[0, TARGET].item())
        means[name] = float(np.mean(scores))
    return means | {"road": (means["road-lerf"] - means["road-morf"]) / 2}


def of_quantus(heat, mask):
    import quantus

    def one(metric):
        return float(
            metric(
                model=None,
                x_batch=np.zeros((1, 3, HEIGHT, WIDTH), np.float32),
                y_batch=np.array([TARGET]),
                a_batch=heat[None],
                s_batch=mask[None],
            )[0]
        )

    plain = {"abs": False, "normalise": False, "disable_warnings": True}
    return {
        "pointing-game": one(quantus.PointingGame(**plain)),
        "mass-accuracy": one(quantus.RelevanceMassAccuracy(**plain)),
        "rank-accuracy": one(quantus.RelevanceRankAccuracy(**plain)),
        "top-k-intersection": one(quantus.TopKIntersection(k=100, **plain)),
        "localization-auc": one(quantus.AUC(**plain)),
        "sparseness": one(quantus.Sparseness(**(plain | {"abs": True}))),
        "complexity": one(quantus.Complexity(**(plain | {"abs": True}))),
        "effective-complexity": one(quantus.EffectiveComplexity(eps=0.5, **(plain | {"abs": True}))),
    }


def of_torchcam(model, images):
    """Of both images alone, since torch-cam gives means."""
    from contextlib import nullcontext

    from torchcam.metrics import ClassificationMetric, DeletionInsertionMetric

    class Heat:
        """A CAM extractor whose map is the channels' sum, as far as torch-cam's metrics ask of one."""

        def __init__(self):
            self.model = model

        def __call__(self, class_idx, scores, normalized=True):
            low, high = self.heat.amin((1, 2), True), self.heat.amax((1, 2), True)
            return [(self.heat - low) / (high - low)]

        def fuse_cams(self, cams):
            return cams[0]

        def _hooks_off(self):
            return nullcontext()

    found = []
    for image in images:
        extractor = Heat()
        extractor.heat = image.sum(1)
        softmax = torch.nn.Softmax(-1)
        both, drop = DeletionInsertionMetric(extractor, softmax), ClassificationMetric(extractor, softmax)
        both.update(image, TARGET)
        drop.update(image, TARGET)
        found.append({name: float(value) for name, value in {**both.summary(), **drop.summary()}.items()})
    return found


def main():
    exact = torch.jit.load(HERE.parent / "archives" / "timm-vit-fused-traced.pt").eval().double()
    images = pixels(2, 5)
    mask = np.zeros((1, HEIGHT, WIDTH), bool)
    mask[0, 6:15, 10:28] = True
    rows = []
    for image in images.split(1):
        heat = image.sum(1, keepdim=True)
        changes = [draw * NOISE for draw in draws((3, HEIGHT, WIDTH), "normal")]
        moves = [(2 * draw - 1) * RADIUS for draw in draws((3, HEIGHT, WIDTH), "uniform")]
        subsets = draws((HEIGHT, WIDTH), "uniform")
        # Positive values only: Quantus' mass accuracy has no meaning for negative ones.
        positive = heat.clamp(min=0).numpy()[0]
        of_image = {
            "infidelity": infidelity(exact, image.double(), heat.double(), changes, True),
            "infidelity-own": infidelity(exact, image.double(), heat.double(), changes, False),
            "max-sensitivity": sensitivity(image.double(), heat.double(), moves),
            "faithfulness-correlation": correlation(exact, image.double(), heat.double(), subsets, 100),
            **road(exact, image.double(), heat.double(), draws((3, HEIGHT, WIDTH), "normal")),
        }
        rows.append({"network": of_image, "quantus": of_quantus(positive, mask)})
    for row, figures in zip(rows, of_torchcam(exact, [image.double() for image in images.split(1)]), strict=True):
        row["torch-cam"] = figures
    versions = {
        name: importlib.metadata.version(name) for name in ("torch", "torchcam", "captum", "quantus", "grad-cam")
    }
    json.dump({"versions": versions, "images": rows}, sys.stdout, indent=1)


main()
