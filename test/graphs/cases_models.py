"""Kinds of model that people export and the other files of this folder do not write, with what PyTorch says of them.

    python test/graphs/cases_models.py OUT [NAME ...]

writes OUT/NAME.pt and OUT/expected.json, whose arrays are OUT/*.npy. Weights are seeded, no bias is zero. `gradCam` is
of the value that `target` keeps while the module runs, in float64 and in [0, 1], with its distance from float32's;
`gae` and `rollout` are of the probabilities that each attention keeps, by the formulas of the papers.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

CLASS = 3


class Kept:
    """What a run keeps by name, to be differentiated with respect to."""

    def __init__(self):
        self.feature, self.attention = None, []

    def clear(self):
        self.feature, self.attention = None, []


class Reading(nn.Module):
    """A model that lays the map or the tokens that should be explained into `kept`."""

    def __init__(self):
        super().__init__()
        self.kept = Kept()

    def keep(self, feature):
        if not torch.jit.is_tracing():
            self.kept.feature = feature
        return feature


class HiddenSize(Reading):
    """A reshape to a fixed width takes any image whose pixels come out even: one size alone gives each a row."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 4, 5), nn.Conv2d(4, 8, 5), nn.Linear(200, 6)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.a(x)), 2)
        return self.fc(F.max_pool2d(F.relu(self.keep(self.b(x))), 2).reshape(-1, 200))


class ChannelsBehind(Reading):
    """A linear layer on channels that stand last, and back; what is averaged is no module's output."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 12), nn.Linear(12, 6)

    def forward(self, x):
        x = F.gelu(self.b(self.a(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return self.fc(F.adaptive_avg_pool2d(self.keep(x), 1).flatten(1))


class FunctionalEnd(Reading):
    """A last normalization and a relu that is a function, as in DenseNet: what is averaged is no module's output."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.fc = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Linear(8, 6)

    def forward(self, x):
        x = self.keep(F.relu(self.norm(self.a(x))))
        return self.fc(F.adaptive_avg_pool2d(x, (1, 1)).flatten(1))


class TwoStages(Reading):
    """As VGG of timm: after the last map a convolution as wide as the map, whose 1 x 1 output has no places."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2))
        self.wide, self.fc = nn.Conv2d(8, 16, 8), nn.Linear(16, 6)

    def forward(self, x):
        x = self.keep(self.features(x))
        return self.fc(F.adaptive_avg_pool2d(F.relu(self.wide(x)), 1).flatten(1))


class Layer(nn.Module):
    def __init__(self, kept, width, heads):
        super().__init__()
        self.kept, self.heads = (kept,), heads
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm2, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 32), nn.Linear(32, width)

    def forward(self, x):
        y = self.norm(x)
        if not torch.jit.is_tracing():
            self.kept[0].feature = y
        q, k, v = self.qkv(y).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        a = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
        if not torch.jit.is_tracing():
            self.kept[0].attention.append(a)
        x = x + self.out((a @ v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Tokens(Reading):
    """Patches of 8 pixels with tokens before and after them, and a head in one of several ways."""

    def __init__(self, before=1, after=0, read="first", by_reshape=False, grid=(4, 6), width=24):
        super().__init__()
        self.read, self.by_reshape, self.grid = read, by_reshape, grid
        self.patches = nn.Linear(192, width) if by_reshape else nn.Conv2d(3, width, 8, 8)
        self.before = nn.Parameter(torch.randn(1, before, width)) if before else None
        self.after = nn.Parameter(torch.randn(1, after, width)) if after else None
        self.place = nn.Parameter(torch.randn(1, grid[0] * grid[1], width) * 0.3)
        self.layers = nn.ModuleList([Layer(self.kept, width, 3) for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 6)
        self.choice = nn.Parameter(torch.zeros(1, 1, before + grid[0] * grid[1] + after))
        with torch.no_grad():
            self.choice[0, 0, 1] = 1

    def forward(self, x):
        n, (h, w) = x.shape[0], self.grid
        if self.by_reshape:
            x = self.patches(x.view(n, 3, h, 8, w, 8).permute(0, 2, 4, 3, 5, 1).reshape(n, h * w, 192))
        else:
            x = self.patches(x).flatten(2).transpose(1, 2)
        parts = [x + self.place]
        if self.before is not None:
            parts.insert(0, self.before.expand(n, -1, -1))
        if self.after is not None:
            parts.append(self.after.expand(n, -1, -1))
        x = torch.cat(parts, 1)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        if self.read == "first":
            return self.head(x[:, 0])
        if self.read == "last":
            return self.head(x[:, -1])
        if self.read == "product":  # the second token, by a product with a vector that is 1 there and 0 elsewhere
            return self.head((self.choice @ x).squeeze(1))
        return self.head((torch.full_like(self.choice, 0.1) @ x).squeeze(1))  # some of each token, class token too


class Differential(nn.Module):
    """A scale made of parameters alone, brought to the type of what is computed from the image."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.scale, self.fc = (
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.Conv2d(8, 8, 3, 1, 1),
            nn.Parameter(torch.randn(8, 16, 16)),
            nn.Linear(16, 6),
        )

    def forward(self, x):
        x = F.relu(self.a(x))
        x = self.b(x * self.scale.exp().type_as(x.sum((1, 2, 3))))
        return self.fc(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


class Windows(nn.Module):
    """Attention within windows, whose two axes before the tokens stand in one of several ways."""

    def __init__(self, form):
        super().__init__()
        self.form = form
        self.patches, self.qkv, self.out = nn.Conv2d(3, 24, 4, 4), nn.Linear(24, 72), nn.Linear(24, 24)
        self.fc = nn.Linear(24, 6)

    def forward(self, x):
        n = x.shape[0]
        x = self.patches(x).permute(0, 2, 3, 1)  # [N, 8, 8, 24]
        windows = x.view(n, 2, 4, 2, 4, 24).transpose(2, 3).reshape(n * 4, 16, 24)
        q, k, v = self.qkv(windows).view(n * 4, 16, 3, 3, 8).permute(2, 0, 3, 1, 4).unbind(0)  # [N * 4, 3, 16, 8]
        if self.form == "folded":
            q, k, v = (part.reshape(n * 12, 16, 8) for part in (q, k, v))
        elif self.form == "heads-in-batch":
            q, k, v = (part.view(n, 4, 3, 16, 8).transpose(1, 2).reshape(n * 3, 4, 16, 8) for part in (q, k, v))
        y = (q @ k.transpose(-2, -1) * 8**-0.5).softmax(-1) @ v
        if self.form == "heads-in-batch":
            y = y.view(n, 3, 4, 16, 8).transpose(1, 2)
        y = y.reshape(n * 4, 3, 16, 8).transpose(1, 2).reshape(n, 2, 2, 4, 4, 24).transpose(2, 3).reshape(n, 64, 24)
        return self.fc((x.flatten(1, 2) + self.out(y)).mean(1))


# The model, the images' height and width, and where its patches are among its tokens: rows, columns, tokens before.
MODELS = {
    "hidden-size": (HiddenSize, (32, 32), None),
    "channels-behind": (ChannelsBehind, (32, 48), None),
    "functional-end": (FunctionalEnd, (32, 48), None),
    "two-stages": (TwoStages, (32, 32), None),
    "class-token-first": (Tokens, (32, 48), (4, 6, 1)),
    "class-token-last": (lambda: Tokens(0, 1, "last"), (32, 48), (4, 6, 0)),
    "registers-last": (lambda: Tokens(1, 4, "first"), (32, 48), (4, 6, 1)),
    "by-reshape": (lambda: Tokens(1, 0, "first", True), (32, 48), (4, 6, 1)),
    "second-token": (lambda: Tokens(3, 0, "product"), (32, 48), (4, 6, 3)),
    "all-tokens": (lambda: Tokens(1, 0, "all"), (32, 48), None),
    "typed-scale": (Differential, (32, 32), None),
    "windows": (lambda: Windows("plain"), (32, 32), None),
    "windows-folded": (lambda: Windows("folded"), (32, 32), None),
    "windows-behind-heads": (lambda: Windows("heads-in-batch"), (32, 32), None),
}
ROWS = {"class-token-first": 0, "class-token-last": 24, "registers-last": 0, "by-reshape": 0, "second-token": 1}


def seeded(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            for name, value in module.named_parameters(recurse=False):
                if name == "choice":
                    continue
                value.copy_(torch.randn(value.shape, generator=generator) * (0.4 if value.dim() < 2 else 0.25))
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
    return model.eval()


def in_unit(maps):
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)


def maps_of(model, x, tokens, row):
    """Grad-CAM of the kept feature; rollout and GAE of the kept probabilities."""
    model.kept.clear()
    score = model(x)[:, CLASS].sum()
    feature, attention = model.kept.feature, model.kept.attention
    gradient, *each = torch.autograd.grad(score, [feature, *attention])
    if tokens is not None:
        height, width, first = tokens
        patches = slice(first, first + height * width)
        weights = gradient[:, patches].mean(1, keepdim=True)
        cam = (feature * weights).sum(-1)[:, patches].relu().view(-1, height, width)
    else:
        cam = (gradient.mean((2, 3), keepdim=True) * feature).sum(1).relu()
    found = {"gradCam": in_unit(cam)}
    if row is not None:
        eye = torch.eye(attention[0].shape[-1], dtype=x.dtype)
        flow, relevance = eye, eye
        for a, g in zip(attention, each):
            flow = (0.5 * a.mean(1) + 0.5 * eye) @ flow
            relevance = relevance + (a * g).relu().mean(1) @ relevance
        for name, matrix in [("rollout", flow), ("gae", relevance)]:
            found[name] = in_unit(matrix[:, row, patches].reshape(-1, height, width))
    return {name: value.detach() for name, value in found.items()}


def main(folder, names):
    expected = {}
    for name in names or MODELS:
        make, (height, width), tokens = MODELS[name]
        torch.manual_seed(0)
        model = seeded(make())
        torch.manual_seed(0)
        exact = seeded(make()).double()
        x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            torch.jit.trace(model, x[:1], check_trace=False).save(str(folder / f"{name}.pt"))
            scores = exact(x.double())
        arrays = {"input": x, "scores": scores}
        entry = {}
        if isinstance(model, Reading) and name != "all-tokens":
            maps = maps_of(exact, x.double(), tokens, ROWS.get(name))
            for key, value in maps_of(model, x, tokens, ROWS.get(name)).items():
                arrays[key] = maps[key]
                entry[f"{key}Rounding"] = float((value.double() - maps[key]).abs().max())
        for key, value in arrays.items():
            np.save(folder / f"{name}-{key}.npy", value.detach().float().numpy())
            entry[key] = f"{name}-{key}.npy"
        expected[name] = entry
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
