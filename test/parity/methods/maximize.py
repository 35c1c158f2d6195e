"""Activation maximisation in PyTorch, for the shipped models: what eight steps of torch.optim.Adam make of an image.

    python test/parity/methods/maximize.py

writes maximize-CASE.safetensors beside itself: `activations` [steps + 1], of the clean image before and after every
step, and `image`, every `stride`-th row and column of the last image in [0, 1], with mean and deviation of all of it.
The metadata holds the options. Start and jitter are drawn as sightline draws them: sample i of seed s by a generator
seeded with s * 1000003 + i. All of it is run in float64. Adam's first steps have the size of the learning rate whatever
the size of the gradient, so where a gradient is all rounding error its sign is luck: `rounding` [3] is how far float32
runs end from the float64 one, by activation (of the largest), by pixel, and by the moments, the largest of eight whose
pixels were moved by what float32 leaves open.
"""

import json
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT / "models"), str(HERE.parent)]
from reference_file import save_reference
from resnet import ResNet
from vit import VisionTransformer

STEPS = 8
# In float32, to see what rounding does.
RUNS = 8
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
# Files named `plain`: a card that takes images in [0, 1] as they are.
PLAIN = ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])

DEFAULTS = {
    "steps": STEPS,
    "learningRate": 0.05,
    "betas": [0.9, 0.999],
    "epsilon": 1e-8,
    "parametrization": "fourier",
    "decay": 1.0,
    "l2": 0.0,
    "totalVariation": 0.0,
    "jitter": 8,
    "blur": None,
    "seed": 0,
}

CASES = {
    "channel": ("resnet", 224, 224, {"node": "layer2", "channel": 5}),
    "class": (
        "resnet",
        96,
        80,
        {"class": 2, "parametrization": "pixel", "jitter": 0, "l2": 0.3, "totalVariation": 2.0},
    ),
    "unit": (
        "resnet",
        224,
        224,
        {
            "node": "layer3",
            "channel": 9,
            "unit": {"row": 3, "column": 2},
            "parametrization": "pixel",
            "decorrelate": True,
            "jitter": 3,
            "seed": 1,
        },
    ),
    "odd-size": (
        "resnet",
        75,
        61,
        {
            "node": "layer2",
            "channel": 17,
            "blur": {"size": 5, "sigma": 1.5, "every": 3},
            "decay": 0.85,
            "jitter": 4,
            "seed": 1,
        },
    ),
    "layer": (
        "resnet",
        61,
        75,
        {
            "node": "layer2",
            "parametrization": "pixel",
            "blur": {"size": 3, "sigma": 0.8, "every": 2},
            "jitter": 2,
            "seed": 2,
        },
    ),
    "head": ("vit", 224, 224, {"node": "blocks.3.attn", "head": 1, "seed": 4}),
    "patch": (
        "vit",
        224,
        224,
        {"node": "blocks.4", "of": "attention", "unit": {"row": 5, "column": 8}, "jitter": 0, "decorrelate": False},
    ),
    "key": (
        "vit",
        224,
        224,
        {
            "node": "blocks.2.attn",
            "of": "key",
            "head": 2,
            "channel": 7,
            "parametrization": "pixel",
            "betas": [0.8, 0.99],
            "jitter": 5,
            "seed": 1,
        },
    ),
    "value": ("vit", 224, 224, {"node": "blocks.1", "of": "value", "unit": {"row": 2, "column": 11}, "jitter": 0}),
    "token": (
        "vit",
        224,
        224,
        {"node": "blocks.5", "token": 0, "decay": 0.5, "decorrelate": False, "totalVariation": 1.0},
    ),
    "difference": ("vit", 224, 224, {"class": {"of": 3, "against": 7}, "learningRate": 0.02, "seed": 1}),
}


def load(name: str) -> nn.Module:
    archive = torch.jit.load(str(ROOT / "models" / f"{name}-tiny-shapes.pt"), map_location="cpu")
    model = ResNet(12) if name == "resnet" else VisionTransformer(12)
    model.load_state_dict(archive.state_dict())
    return model.eval().requires_grad_(False)


def draw(shape: list[int], seed: int, sample: int, kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(seed * 1000003 + sample)
    return (torch.randn if kind == "normal" else torch.rand)(shape, generator=generator)


class Parametrisation:
    def __init__(self, options: dict, height: int, width: int, dtype: torch.dtype):
        self.options, self.height, self.width, self.dtype = options, height, width, dtype
        root = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], dtype=torch.float64)
        self.colours = (root / root.norm(dim=0).max()).to(dtype)
        self.is_pixel = options["parametrization"] == "pixel"
        if not self.is_pixel:
            frequency = torch.hypot(
                torch.fft.fftfreq(height, dtype=torch.float64)[:, None],
                torch.fft.rfftfreq(width, dtype=torch.float64)[None],
            )
            self.scale = (frequency.clamp(min=1 / max(height, width)) ** -options["decay"] / 4).to(dtype)

    def start(self) -> Tensor:
        shape = [3, self.height, self.width] if self.is_pixel else [3, self.height, self.width // 2 + 1, 2]
        return 0.01 * draw(shape, self.options["seed"], 0, "normal").to(self.dtype)

    def before_sigmoid(self, parameters: Tensor) -> Tensor:
        if self.is_pixel:
            return parameters
        return torch.fft.irfft2(
            torch.view_as_complex(parameters) * self.scale, s=(self.height, self.width), norm="ortho"
        )

    def image(self, parameters: Tensor) -> Tensor:
        raw = self.before_sigmoid(parameters)
        if self.options.get("decorrelate", not self.is_pixel):
            raw = torch.einsum("rc,chw->rhw", self.colours, raw)
        return raw.sigmoid()

    def smoothed(self, parameters: Tensor, size: int, sigma: float) -> Tensor:
        """The blur itself, of the image before its colours are mixed: edges mirrored for pixels, wrapped for a
        spectrum."""
        middle = size // 2
        weights = torch.exp(-((torch.arange(size, dtype=torch.float64) - middle) ** 2) / (2 * sigma**2))
        weights = (weights / weights.sum()).to(self.dtype)
        raw = self.before_sigmoid(parameters)[:, None]
        raw = F.pad(raw, (middle,) * 4, mode="reflect" if self.is_pixel else "circular")
        raw = F.conv2d(F.conv2d(raw, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))[:, 0]
        if self.is_pixel:
            return raw
        spectrum = torch.view_as_real(torch.fft.rfft2(raw, norm="ortho") / self.scale)

        # What the inverse transform does not read (imaginary parts that symmetry makes zero) is scaled all the same.
        def response(frequencies: Tensor) -> Tensor:
            return sum(w * torch.cos(2 * math.pi * frequencies * (i - middle)) for i, w in enumerate(weights))

        down = response(torch.fft.fftfreq(self.height, dtype=self.dtype))
        across = response(torch.fft.rfftfreq(self.width, dtype=self.dtype))
        by_product = parameters * (down[:, None] * across[None])[..., None]
        assert (self.before_sigmoid(spectrum) - self.before_sigmoid(by_product)).abs().max() < 1e-5
        return by_product


def objective(model: nn.Module, options: dict):
    """A function of the preprocessed image [1, 3, H, W]."""
    kept: dict[str, Tensor] = {}
    if "class" in options:
        chosen = options["class"]
        if isinstance(chosen, dict):
            return lambda x: (lambda y: y[chosen["of"]] - y[chosen["against"]])(model(x)[0])
        return lambda x: model(x)[0, chosen]
    node, of = options["node"], options.get("of", "attention" if "head" in options else "feature")
    unit, token, channel = options.get("unit"), options.get("token"), options.get("channel")
    if of == "feature":
        model.get_submodule(node).register_forward_hook(lambda m, i, o: kept.__setitem__("value", o[0]))

        def read() -> Tensor:
            value = kept["value"]
            if value.dim() == 3 and unit is not None:
                value = value[:, unit["row"], unit["column"]]
            if value.dim() == 2:  # tokens: [N, C] to [C]
                value = value[token].unsqueeze(1) if token is not None else value[1:].T
            return value[channel].mean() if channel is not None else value.square().mean()
    else:
        block = node.removesuffix(".attn")
        attention = model.get_submodule(f"{block}.attn")
        attention.qkv.register_forward_hook(lambda m, i, o: kept.__setitem__("qkv", o[0]))
        patch = None if unit is None else 1 + unit["row"] * 14 + unit["column"]

        def read() -> Tensor:
            tokens = kept["qkv"].shape[0]
            q, k, v = kept["qkv"].reshape(tokens, 3, attention.num_heads, attention.head_dim).permute(1, 2, 0, 3)
            heads = slice(None) if options.get("head") is None else slice(options["head"], options["head"] + 1)
            if of == "attention":
                row = (q @ k.transpose(1, 2) / math.sqrt(attention.head_dim)).softmax(-1)[heads, token or 0].mean(0)
                return row[1:].mean() if patch is None else row[patch]
            value = {"query": q, "key": k, "value": v}[of][heads]
            value = value[:, 1:] if patch is None and token is None else value[:, [patch if token is None else token]]
            return value[..., channel].mean() if channel is not None else value.square().mean()

    def reached(x: Tensor) -> Tensor:
        model(x)
        return read()

    return reached


def maximize(
    options: dict,
    name: str,
    height: int,
    width: int,
    card: tuple,
    dtype: torch.dtype,
    moved: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    model = load(name).to(dtype)
    reached = objective(model, options)
    shape = Parametrisation(options, height, width, dtype)
    mean, std = (torch.tensor(values, dtype=dtype)[:, None, None] for values in card)

    def prepared(image: Tensor) -> Tensor:
        pixels = (image - mean) / std
        return (
            pixels
            if moved is None
            else pixels * (1 + 2**-23 * (2 * torch.rand(pixels.shape, generator=moved, dtype=dtype) - 1))
        )

    parameters = nn.Parameter(shape.start())
    adam = torch.optim.Adam(
        [parameters], lr=options["learningRate"], betas=tuple(options["betas"]), eps=options["epsilon"]
    )
    clean = lambda: reached(prepared(shape.image(parameters))[None]).item()  # noqa: E731
    activations = [clean()]
    for step in range(options["steps"]):
        image = shape.image(parameters)
        shifted = image
        if jitter := options["jitter"]:
            by = draw([2], options["seed"] + 1, step, "uniform")
            rows, columns = (int(math.floor(float(u) * (2 * jitter + 1))) - jitter for u in by)
            shifted = image.roll((rows, columns), (1, 2))
        loss = -reached(prepared(shifted)[None])
        loss = loss + options["l2"] * prepared(image).square().mean()
        loss = loss + options["totalVariation"] * (image.diff(dim=1).abs().mean() + image.diff(dim=2).abs().mean())
        adam.zero_grad()
        loss.backward()
        adam.step()
        blur = options["blur"]
        if blur and (step + 1) % blur["every"] == 0:
            with torch.no_grad():
                parameters.copy_(shape.smoothed(parameters, blur["size"], blur["sigma"]))
        activations.append(clean())
    return torch.tensor(activations, dtype=dtype), shape.image(parameters).detach()


def main(names: list[str]) -> None:
    for case, (model, height, width, own) in CASES.items():
        if names and case not in names:
            continue
        options = {**DEFAULTS, **own}
        is_full = (height, width) == (224, 224)
        card, stride = (IMAGENET, 16) if is_full else (PLAIN, 6)
        activations, image = maximize(options, model, height, width, card, torch.float64)
        moments = torch.stack([image.mean(), image.std()])
        generator = torch.Generator().manual_seed(0)
        rounding = torch.zeros(3, dtype=torch.float64)
        for _ in range(RUNS):
            reached, made = (
                value.double() for value in maximize(options, model, height, width, card, torch.float32, generator)
            )
            off = [
                (reached - activations).abs().max() / activations.abs().max(),
                (made - image).abs().max(),
                (torch.stack([made.mean(), made.std()]) - moments).abs().max(),
            ]
            rounding = torch.maximum(rounding, torch.stack(off))
        print(
            f"{case:12} activation {float(activations[0]):9.4f} to {float(activations[-1]):9.4f}; float32 from "
            f"float64: activations {float(rounding[0]):.1e} (relative), image {float(rounding[1]):.1e}, "
            f"moments {float(rounding[2]):.1e}",
            flush=True,
        )
        sample = image[:, ::stride, ::stride].contiguous()
        tensors = {
            name: value.float()
            for name, value in {
                "activations": activations,
                "image": sample,
                "moments": moments,
                "rounding": rounding,
            }.items()
        }
        told = {
            key: value
            for key, value in options.items()
            if value is not None and not (key == "decay" and options["parametrization"] == "pixel")
        }
        metadata = {
            "options": json.dumps(told),
            "model": model,
            "height": str(height),
            "width": str(width),
            "stride": str(stride),
            "torch": torch.__version__,
        }
        save_reference(tensors, HERE / f"maximize-{case}.safetensors", metadata)


if __name__ == "__main__":
    main(sys.argv[1:])
