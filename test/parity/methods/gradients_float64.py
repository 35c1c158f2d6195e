"""Writes gradients-MODEL.float64.safetensors: the pixel gradients of gradients.py, with the rectified networks in
float64.

Usage: python test/parity/methods/gradients_float64.py [--missing] [MODEL...]      (needs what gradients.py needs)

A gradient of a rectified network jumps where a rectifier's input crosses zero, or where the largest value of a pooling
window changes. float32 leaves undecided what lies closer than its own rounding. So each case is computed in float64
once, and then `DRAWS` times with every such input moved at random, up or down by that rounding. How far the map moves
is what float32 leaves open.

How far float32 rounds is read from the network: at each channel of a rectifier's or pooling's input, the root mean
square of the difference between float32 and float64, for the images and for noisy ones. Other kernels add in another
order, and single values lie farther off than the mean, so `KERNELS` times that is taken.

Tensors, sampled as in gradients.py: NAME is the map in float64, NAME.range its least and largest value, NAME.open the
root mean square of what the draws move at each place, NAME.range.open the same of the range. `undecided` [2]: how many
rectified values of one forward pass are undecided, of how many. Methods that draw samples are asked about the first
image of 224 pixels alone.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent))

from gradients_models import Explained, eager, opened, shipped

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import gradients
from gradients_noise import normal
from reference_file import save_reference

HERE = Path(__file__).parent
DRAWS = 2
KERNELS = 4
NOISE = 0.15
torch.set_num_threads(1)
MODELS = (
    "resnet-tiny-shapes",
    "timm-resnet-traced",
    "torchvision-resnet-basic-scripted",
    "torchvision-resnet-frozen",
)
SAMPLED = ("smooth-grad", "var-grad", "integrated-gradients", "expected-gradients", "blur-ig")
RELU, RELU_, POOLING = (
    torch.ops.aten.relu.default,
    torch.ops.aten.relu_.default,
    torch.ops.aten.max_pool2d_with_indices.default,
)


class Switches(TorchDispatchMode):
    """Sees the input of every rectifier and pooling of a forward pass, and may put another in its place."""

    def __init__(self):
        super().__init__()
        self.place = 0

    def __enter__(self):
        self.place = 0
        return super().__enter__()

    def replaced(self, values: Tensor, is_pooling: bool) -> Tensor:
        self.place += 1
        return self.at(self.place - 1, values, is_pooling)

    def __deepcopy__(self, _memo):
        return self  # peers copy the network that holds it

    def at(self, place: int, values: Tensor, is_pooling: bool) -> Tensor:
        raise NotImplementedError

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function not in (RELU, RELU_, POOLING):
            return function(*args, **(kwargs or {}))
        values = self.replaced(args[0], function is POOLING)
        return args[0].copy_(values.relu()) if function is RELU_ else function(values, *args[1:], **(kwargs or {}))


class Recorded(Switches):
    def __init__(self):
        super().__init__()
        self.inputs: list[Tensor] = []
        self.is_pooling: list[bool] = []

    def at(self, place: int, values: Tensor, is_pooling: bool) -> Tensor:
        self.inputs.append(values.double().clone())
        self.is_pooling.append(is_pooling)
        return values


class Moved(Switches):
    """
    Moves what float32 leaves undecided. `roundings`: of each place in the order of a forward pass. Of draws 2n and 2n +
    1 the second moves everything the other way, so one of them takes each undecided value across.
    """

    def __init__(self, roundings: list[Tensor], draw: int):
        super().__init__()
        self.roundings = [limit * (-1) ** draw for limit in roundings]
        self.random = torch.Generator().manual_seed(draw // 2)

    def at(self, place: int, values: Tensor, is_pooling: bool) -> Tensor:
        rounding = self.roundings[place]
        moved = values + rounding * (torch.randint(0, 2, values.shape, generator=self.random) * 2 - 1)
        # In a pooling window the order decides and not the sign, so all are moved, but for those that a rectifier made
        # zero.
        return torch.where(values != 0 if is_pooling else values.abs() <= rounding.abs(), moved, values)


class Wide(nn.Module):
    """A network in float64, whatever the images are in. Rectifiers of the backward pass, as peers have them, are left
    alone."""

    def __init__(self, network: nn.Module, switches: Switches):
        super().__init__()
        self.network = network
        self.switches = switches

    def forward(self, images: Tensor) -> Tensor:
        with self.switches:
            return self.network(images.double()).to(images.dtype)  # TensorFlow multiplies no float64 by float32

    def get_submodule(self, target: str) -> nn.Module:
        return self.network.get_submodule(target)


def load(name: str) -> Explained:
    if name == "resnet-tiny-shapes":
        return shipped(name)
    return opened(name) if name.endswith("-frozen") else eager(name)


def roundings(name: str) -> tuple[list[Tensor], Tensor]:
    """How far float32 rounds at each place and channel, `KERNELS` times; and how many rectified values are undecided,
    of how many."""
    explained = load(name)
    deviation = NOISE * (
        explained.images.amax((1, 2, 3), keepdim=True) - explained.images.amin((1, 2, 3), keepdim=True)
    )
    images = torch.cat([explained.images, explained.images + deviation * normal(0, tuple(explained.images.shape[1:]))])
    with torch.no_grad():
        with Recorded() as narrow:
            explained.model(images)
        with Recorded() as wide:
            explained.model.double()(images.double())
    limits = [
        KERNELS * (a - b).square().mean((0, 2, 3), keepdim=True).sqrt()
        for a, b in zip(narrow.inputs, wide.inputs, strict=True)
    ]
    rectified = [
        (values, limit) for values, limit, is_pooling in zip(wide.inputs, limits, wide.is_pooling) if not is_pooling
    ]
    undecided = sum(int((values.abs() <= limit).sum()) for values, limit in rectified)
    return limits, torch.tensor([undecided, sum(values.numel() for values, _ in rectified)])


def compute(case: gradients.Case, name: str, count: int, switches: Switches) -> Tensor:
    """Of a network that no peer has put hooks on yet."""
    from pytorch_grad_cam.guided_backprop import GuidedBackpropReLU, GuidedBackpropReLUasModule

    def guided(_self: nn.Module, values: Tensor) -> Tensor:
        return GuidedBackpropReLU.apply(values + (switches.replaced(values.detach(), False) - values.detach()))

    explained = load(name)
    explained = replace(
        explained,
        model=Wide(explained.model.double(), switches).eval(),
        images=explained.images[:count],
        targets=explained.targets[:count],
    )
    with patch.object(GuidedBackpropReLUasModule, "forward", guided):
        found = case(explained).detach().double()
    assert switches.place > 0 and found.isfinite().all()
    return found


def write(name: str, only_missing: bool) -> None:
    path = HERE / f"gradients-{name}.float64.safetensors"
    tensors = {key: value.clone() for key, value in load_file(path).items()} if only_missing and path.exists() else {}
    limits, tensors["undecided"] = roundings(name)
    print(
        name,
        "roundings",
        *(f"{limit.max():.1e}" for limit in limits),
        "undecided",
        tensors["undecided"].tolist(),
        flush=True,
    )
    asked = {
        case: peer
        for _, cases in gradients.everything()[name]
        for case, peer in cases.items()
        if not case.startswith(("occlusion", "rise"))
    }
    parts_of_asked = {f"{case}{part}" for case in asked for part in ("", ".open", ".range", ".range.open")}
    tensors = {key: value for key, value in tensors.items() if key in parts_of_asked | {"undecided"}}
    # Those that take a run or two come first.
    for case, peer in sorted(asked.items(), key=lambda one: one[0].startswith(SAMPLED)):
        if case in tensors:
            continue
        start = time.monotonic()
        count = 1 if name == "resnet-tiny-shapes" and case.startswith(SAMPLED) else 2
        exact = compute(peer, name, count, Moved([0 * limit for limit in limits], 0))
        moved = torch.stack([compute(peer, name, count, Moved(limits, draw)) for draw in range(DRAWS)])
        parts = {case: exact, f"{case}.open": (moved - exact).square().mean(0).sqrt()}
        if exact.dim() == 3:
            ends = torch.stack([exact.amin((1, 2)), exact.amax((1, 2))], 1)
            moves = torch.stack([moved.amin((2, 3)), moved.amax((2, 3))], 2) - ends
            first, step = (1, 3) if exact.shape[1] < 224 else (7, 16)
            parts = {key: value[:, first::step, first::step] for key, value in parts.items()}
            parts |= {f"{case}.range": ends, f"{case}.range.open": moves.square().mean(0).sqrt()}
            size = (ends[:, 1] - ends[:, 0])[:, None, None]
            print(
                f"  {case}: {int((4 * parts[f'{case}.open'] > 1e-4 * size).sum())} of {parts[case].numel()} "
                "places open, "
                f"by {(parts[f'{case}.open'] / size).max():.0e} at most, {time.monotonic() - start:.1f} s",
                flush=True,
            )
        tensors |= {key: value.float().contiguous() for key, value in parts.items()}
        save_reference(
            tensors, path, {"made by": "test/parity/methods/gradients_float64.py", "torch": torch.__version__}
        )


if __name__ == "__main__":
    options, names = ([arg for arg in sys.argv[1:] if arg.startswith("--") == is_option] for is_option in (True, False))
    for asked_for in names or MODELS:
        write(asked_for, only_missing="--missing" in options)
