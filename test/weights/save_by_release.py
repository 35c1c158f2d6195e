"""Saves checkpoints by torch.save of whatever release of torch runs this: nothing newer than 1.6 and Python 3.6.

A seeded folder has index.json (names to shapes) and NAME.f32 (raw numbers). Its checkpoints go beside it.

Usage: save_by_release.py all|some SEEDED...    each wrapper with each prefix, or each of them once
       save_by_release.py small FILE            a small checkpoint with everything that a state dict may have
"""

import collections
import json
import os
import sys

import torch

WRAPPERS = [None, "state_dict", "model_state_dict", "model", "net", "ema"]
PREFIXES = ["", "module.", "model.", "backbone.", "_orig_mod."]


def read(folder):
    with open(os.path.join(folder, "index.json")) as file:
        shapes = json.load(file)
    state = collections.OrderedDict()
    for name, shape in shapes.items():
        count = 1
        for length in shape:
            count *= length
        path = os.path.join(folder, name + ".f32")
        # A mapped file is no plain storage.
        state[name] = torch.from_file(path, size=count, dtype=torch.float32).clone().view(shape)
    return state


def save_all(folder, every):
    state = read(folder)
    for i, wrapper in enumerate(WRAPPERS):
        for j, prefix in enumerate(PREFIXES):
            if not every and j != i % len(PREFIXES):
                continue
            saved = collections.OrderedDict((prefix + name, value) for name, value in state.items())
            saved._metadata = collections.OrderedDict({"": {"version": 1}})
            form = saved if wrapper is None else {"epoch": 3, wrapper: saved, "lr": 1e-3}
            name = f"{wrapper or 'plain'}-{prefix.strip('_.') or 'none'}.pth"
            torch.save(form, os.path.join(folder, "..", name))


def save_small(path):
    numbers = torch.arange(24, dtype=torch.float32).div(8).sub(1)
    state = collections.OrderedDict()
    state["float"] = numbers.clone().view(2, 3, 4)
    state["double"] = numbers.double()
    state["half"] = numbers.half()
    state["bfloat16"] = numbers.bfloat16()
    state["long"] = torch.arange(6)
    state["bool"] = torch.tensor([True, False, True])
    state["scalar"] = torch.tensor(7)
    state["empty"] = torch.zeros(0, 3)
    state["parameter"] = torch.nn.Parameter(numbers.clone().view(4, 6))
    state["left"], state["right"] = numbers.view(4, 6)[:, :3], numbers.view(4, 6)[:, 3:]
    state["turned"] = numbers.clone().view(4, 6).t()
    state["expanded"] = torch.ones(1, 3).expand(2, 3)
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3)
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    trainer = {"optimizer": optimizer.state_dict(), "epoch": 3, "best": 0.5, "sizes": numbers.shape}
    torch.save(dict(trainer, model=state), path)


if __name__ == "__main__":
    if sys.argv[1] == "small":
        save_small(sys.argv[2])
    else:
        for given in sys.argv[2:]:
            save_all(given, sys.argv[1] == "all")
    print(torch.__version__)
