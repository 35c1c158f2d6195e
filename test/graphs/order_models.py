"""Models whose patches stand in another order than that of rows, with what PyTorch says of them.

    python test/graphs/order_models.py OUT

writes OUT/NAME.pt and OUT/expected.json: an input, the scores, the output of `inside` (where patches lie window by
window), which entry of it each patch is, and its Grad-CAM map of class 1 in float64 with the distance of float32's.
`outside` is the same tokens in rows, so that every map there is the map at `inside`. Weights are seeded, no bias is
zero.
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from models import numbers, seeded

WIDTH = 12


class Windows(nn.Module):
    """[N, rows, columns, C] to windows: `form` says where they stand, `shift` by how much the map is rolled before."""

    def __init__(self, form, size, shift=0):
        super().__init__()
        self.form, self.size, self.shift = form, size, shift

    def forward(self, x):
        n, rows, columns, width = x.shape
        size = self.size
        down, across = -rows % size, -columns % size
        if down or across:
            x = F.pad(x, (0, 0, 0, across, 0, down))
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        high, wide = (rows + down) // size, (columns + across) // size
        x = x.view(n, high, size, wide, size, width).permute(0, 1, 3, 2, 4, 5)
        if self.form == "units":  # as Hiera: one row of tokens, the windows one after another
            return x.reshape(n, high * wide * size * size, width)
        if self.form == "axis":  # as NesT: an axis of their own
            return x.reshape(n, high * wide, size * size, width)
        if self.form == "squares":  # as Swin's own partition
            return x.reshape(n * high * wide, size, size, width)
        return x.reshape(n * high * wide, size * size, width)


class Rows(nn.Module):
    """Back to [N, rows * columns, C]."""

    def __init__(self, size, rows, columns, shift=0):
        super().__init__()
        self.size, self.rows, self.columns, self.shift = size, rows, columns, shift

    def forward(self, x):
        size, width = self.size, x.shape[-1]
        high, wide = -(-self.rows // size), -(-self.columns // size)
        x = x.reshape(-1, high, wide, size, size, width).permute(0, 1, 3, 2, 4, 5)
        x = x.reshape(-1, high * size, wide * size, width)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x[:, : self.rows, : self.columns].reshape(-1, self.rows * self.columns, width)


class Local(nn.Module):
    """Attention within windows of whatever form, and what follows it."""

    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        y = x.flatten(1, 2) if x.dim() == 4 and x.shape[1] == x.shape[2] else x
        q, k, v = self.qkv(self.norm(y)).chunk(3, -1)
        y = (q @ k.transpose(-2, -1) * WIDTH**-0.5).softmax(-1) @ v
        return x + self.out(y).reshape(x.shape)


class Mixed(nn.Module):
    """Tokens through attention in windows (`inside`), back in rows (`outside`), read by two numbers of each channel."""

    def __init__(self, form, rows, columns, size, shift=0):
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 8, 8)
        self.place = nn.Parameter(torch.randn(1, rows, columns, WIDTH) * 0.3)
        self.windows = Windows(form, size, shift)
        self.inside = Local()
        self.outside = Rows(size, rows, columns, shift)
        self.fc = nn.Linear(2 * WIDTH, 6)

    def forward(self, x):
        x = self.patches(x).permute(0, 2, 3, 1) + self.place
        x = self.outside(self.inside(self.windows(x)))
        return self.fc(torch.cat([x.mean(1), torch.logsumexp(x, 1)], 1))

    def order(self, rows, columns):
        """Which entry of `inside` each patch is; then the entries without one."""
        plane = torch.arange(1, rows * columns + 1).view(1, rows, columns, 1)
        found = self.windows(plane).flatten().tolist()
        return [found.index(patch) for patch in range(1, rows * columns + 1)] + [
            entry for entry, patch in enumerate(found) if patch == 0
        ]


class Units(Mixed):
    """As Mixed, but the attention of units laid in a row is between the tokens of each."""

    def forward(self, x):
        x = self.patches(x).permute(0, 2, 3, 1) + self.place
        x = self.windows(x)
        size = self.windows.size**2
        q, k, v = self.inside.qkv(self.inside.norm(x)).unflatten(1, (-1, size)).chunk(3, -1)
        y = (q @ k.transpose(-2, -1) * WIDTH**-0.5).softmax(-1) @ v
        x = self.rest(x + self.inside.out(y.flatten(1, 2)))
        x = self.outside(x)
        return self.fc(torch.cat([x.mean(1), torch.logsumexp(x, 1)], 1))

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.rest = nn.Sequential(nn.Linear(WIDTH, WIDTH))


# The model, the layer in whose output patches are in no order of rows, rows and columns of patches.
MODELS = {
    "units": (lambda: Units("units", 4, 6, 2), "rest", 4, 6),
    "windows": (lambda: Mixed("batch", 4, 6, 2), "inside", 4, 6),
    "windows-shifted": (lambda: Mixed("batch", 4, 6, 2, 1), "inside", 4, 6),
    "windows-padded": (lambda: Mixed("batch", 5, 6, 4), "inside", 5, 6),
    "windows-padded-shifted": (lambda: Mixed("batch", 5, 6, 4, 2), "inside", 5, 6),
    "windows-square": (lambda: Mixed("squares", 4, 6, 2, 1), "inside", 4, 6),
    "windows-axis": (lambda: Mixed("axis", 4, 6, 2), "inside", 4, 6),
}


def grad_cam(model, x, layer, order, rows, columns):
    seen = {}
    handle = dict(model.named_modules())[layer].register_forward_hook(
        lambda _module, _inputs, value: seen.update(feature=value)
    )
    scores = model(x)
    handle.remove()
    (gradient,) = torch.autograd.grad(scores[:, 1].sum(), seen["feature"])
    patches = rows * columns
    tokens = [
        value.reshape(x.shape[0], -1, value.shape[-1])[:, order[:patches]].unflatten(1, (rows, columns))
        for value in (seen["feature"], gradient)
    ]
    cam = (tokens[1].mean((1, 2), keepdim=True) * tokens[0]).sum(-1).relu()
    low, high = cam.amin((1, 2), keepdim=True), cam.amax((1, 2), keepdim=True)
    return ((cam - low) / (high - low).clamp_min(1e-12)).detach(), seen["feature"].detach(), scores.detach()


def main(folder):
    expected = {}
    for name, (make, layer, rows, columns) in MODELS.items():
        torch.manual_seed(0)
        model = seeded(make())
        x = torch.randn(2, 3, rows * 8, columns * 8, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            torch.jit.trace(model, x[:1], check_trace=False).save(str(folder / f"{name}.pt"))
        order = model.order(rows, columns)
        single, feature, scores = grad_cam(model, x, layer, order, rows, columns)
        torch.manual_seed(0)
        double, _, _ = grad_cam(seeded(make()).double(), x.double(), layer, order, rows, columns)
        expected[name] = {
            "input": numbers(x),
            "scores": numbers(scores),
            "feature": numbers(feature),
            "layer": layer,
            "order": order,
            "gradCam": numbers(double),
            "rounding": float((single.double() - double).abs().max()),
        }
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
