"""Writes checkpoints of torch.save in every form and wrapper that people have, and what PyTorch says of them.

Usage: save_checkpoints.py FOLDER SEEDED, with SEEDED a safetensors-like folder of raw float32 files:
SEEDED/index.json maps names to shapes, SEEDED/NAME.f32 holds the numbers.
"""

import argparse
import collections
import json
import pathlib
import sys

import numpy
import torch

folder, seeded = map(pathlib.Path, sys.argv[1:3])
shapes = json.loads((seeded / "index.json").read_text())
state = collections.OrderedDict(
    (name, torch.from_numpy(numpy.fromfile(seeded / f"{name}.f32", dtype="<f4").reshape(shape)))
    for name, shape in shapes.items()
)
state._metadata = collections.OrderedDict({"": {"version": 1}, "blocks": {"version": 1}})


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


def strided(value: torch.Tensor) -> torch.Tensor:
    """The same numbers in another order in memory, not at the storage's start."""
    if value.dim() < 2:
        return torch.cat([torch.full_like(value, 9.0), value])[value.numel() :]
    return value.transpose(0, 1).contiguous().transpose(0, 1)


optimizer = {
    "state": {0: {"step": 7, "exp_avg": torch.ones(3)}},
    "param_groups": [{"lr": 1e-3, "params": [0, 1 << 40, -5]}],
}
# One storage for all tensors, as after a flattening trainer.
flat = torch.cat([value.flatten() for value in state.values()])
places = numpy.cumsum([0] + [value.numel() for value in state.values()])
shared = {name: flat[at : at + value.numel()].view(value.shape) for (name, value), at in zip(state.items(), places)}

forms = {
    "plain": state,
    "dict": dict(state),
    "parameters": collections.OrderedDict((name, torch.nn.Parameter(value)) for name, value in state.items()),
    "state_dict": {
        "epoch": 3,
        "arch": "test_vit",
        "state_dict": prefixed("module."),
        "best_acc1": 0.75,
        "optimizer": optimizer,
    },
    "model_state_dict": {"model_state_dict": state, "loss": None, "amp": True},
    "model": {"model": prefixed("_orig_mod."), "sizes": torch.Size([1, 2])},
    "net": {"net": prefixed("module._orig_mod.model.")},
    "ema": {"model": None, "ema": {"state_dict": prefixed("backbone.")}},
    "both": {"model": state, "ema": {name: value + 1 for name, value in state.items()}},
    "strided": {name: strided(value) for name, value in state.items()},
    "shared": shared,
    "half": {name: value.half() for name, value in state.items()},
    "double": {name: value.double() for name, value in state.items()},
    "bfloat16": {name: value.bfloat16() for name, value in state.items()},
}
for name, form in forms.items():
    torch.save(form, folder / f"{name}.pth")

torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
torch.save(torch.nn.Linear(2, 2), folder / "module.pth")
torch.save({"model": state, "args": argparse.Namespace(lr=1)}, folder / "namespace.pth")
torch.save({"model": state, "rng": numpy.float64(1.5)}, folder / "numpy.pth")
torch.save({"epoch": 1}, folder / "nothing.pth")
torch.save(torch.ones(3), folder / "tensor.pth")
torch.save({**state, "odd": torch.zeros(2)}, folder / "extra.pth")
