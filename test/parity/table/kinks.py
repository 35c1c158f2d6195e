"""How many ReLUs of the table's ResNet-50 open or close, and how far PyTorch's own gradient map moves, by the memory
layout alone and by float64.

Usage: python test/parity/table/kinks.py
"""

import copy

from subjects import CASES  # first: it makes torchvision importable
import torch
from torch import Tensor, nn


def run(model: nn.Module, image: Tensor, target: int) -> tuple[list[Tensor], Tensor]:
    """What every ReLU lets through, and the gradient's map in [0, 1]."""
    passed: list[Tensor] = []
    handles = [
        module.register_forward_hook(lambda _module, _inputs, output: passed.append(output.detach() > 0))
        for module in model.modules()
        if isinstance(module, nn.ReLU)
    ]
    image = image.detach().clone(memory_format=torch.preserve_format).requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(image)[0, target], image)
    for handle in handles:
        handle.remove()
    magnitude = gradient[0].abs().amax(0).double()
    return passed, (magnitude - magnitude.min()) / (magnitude.max() - magnitude.min())


torch.set_num_threads(1)
case = CASES["resnet50"]()
case.model.requires_grad_(False)
last = torch.channels_last
runs = {
    "contiguous": run(case.model, case.images, case.targets[0]),
    "channels last": run(
        copy.deepcopy(case.model).to(memory_format=last), case.images.to(memory_format=last), case.targets[0]
    ),
    "float64": run(copy.deepcopy(case.model).double(), case.images.double(), case.targets[0]),
}
passed, map_ = runs["contiguous"]
for name in ("channels last", "float64"):
    others, other = runs[name]
    changed = sum((a != b).sum().item() for a, b in zip(passed, others))
    print(
        f"{name}: {changed} of {sum(a.numel() for a in passed)} values change sides, the map by "
        f"{(map_ - other).abs().max().item():.1e}"
    )
