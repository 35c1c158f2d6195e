"""Classifiers that overwrite what their modules returned, with what a forward hook saw at its time.

    python test/graphs/in_place.py OUT

writes OUT/NAME-traced.pt, OUT/NAME-scripted.pt and OUT/expected.json: for each model its logits and, for each node, its
features, their gradient of the logit of class 1 and the Grad-CAM map, in float64, and by how much PyTorch's own float32
differs from each at most.
"""

import copy
import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Stem, convolution, norm and the seam behind it; `finish` of the children is what overwrites."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv, self.bn, self.seam, self.fc = (
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.Conv2d(8, 8, 3, 1, 1),
            nn.BatchNorm2d(8),
            nn.Identity(),
            nn.Linear(8, 4),
        )
        self.act = nn.ReLU(inplace=True)

    def scores(self, x):
        return self.fc((x * x).mean((2, 3)))


class Residual(Block):
    """A residual connection and its activation in place, behind an Identity; a gate reads the value in between."""

    def forward(self, x):
        shortcut = F.relu_(self.stem(x))
        out = self.seam(self.bn(self.conv(shortcut)))
        gate = out.mean((2, 3), keepdim=True).sigmoid()
        out += shortcut
        out = self.act(out)
        return self.scores(out * gate)


class Dropped(Block):
    """Dropout at rest returns its input itself, so that both names are overwritten."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        shortcut = F.gelu(self.stem(x))
        first = self.seam(self.bn(self.conv(shortcut)))
        out = self.drop(first)
        out += shortcut
        F.silu(out, inplace=True)
        return self.scores(self.conv(first) + out)


class Sliced(Block):
    """A part of the map is overwritten, and the whole is read: the operator has no other form."""

    def forward(self, x):
        out = self.seam(self.bn(self.conv(F.gelu(self.stem(x)))))
        out[:, 2:5] *= 3.0
        F.relu_(out[:, 4:])
        return self.scores(out)


class Halves(Block):
    """Two views of one map; the first is overwritten."""

    def forward(self, x):
        out = self.seam(self.bn(self.conv(F.gelu(self.stem(x)))))
        first, second = out[:, :4], out[:, 4:]
        first += second
        return self.scores(torch.cat([second, first], 1))


class Wider(Block):
    """The other operand is of a wider type, which the result in place does not take."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.linspace(0.5, 2, 8, dtype=torch.float64).reshape(1, 8, 1, 1))

    def forward(self, x):
        out = self.seam(self.bn(self.conv(F.gelu(self.stem(x)))))
        out *= self.scale
        return self.scores(out)


class Ignored(Block):
    """What the activation returns is not used, only what it did."""

    def forward(self, x):
        out = self.bn(self.conv(F.gelu(self.stem(x))))
        self.act(out)
        return self.scores(self.conv(out))


class Viewed(Block):
    """The seam is a view; the map that it shows is overwritten and read: no copy keeps both."""

    def forward(self, x):
        out = self.bn(self.conv(F.gelu(self.stem(x))))
        part = self.seam(out[:, :4])
        out[:, 2:6] += 1.0
        return self.scores(torch.cat([part, out[:, 4:]], 1))


class Parts(Block):
    """The patches of a map come with their size, as Swin's do."""

    def __init__(self):
        super().__init__()
        self.patches = Patches()

    def forward(self, x):
        (height, width), tokens = self.patches(x)
        pixels = height * width
        return self.scores(self.conv(tokens[:, :pixels].transpose(1, 2).reshape(-1, 8, height, width)))


class Patches(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, 4)

    def forward(self, x):
        x = self.conv(x)
        return (x.shape[2], x.shape[3]), x.flatten(2).transpose(1, 2)


# The nodes to compare. Tracing leaves no call of an Identity, and scripting none of a module whose result is ignored.
MODELS = {
    "residual": (Residual, ["conv", "bn", "seam", "act"]),
    "dropped": (Dropped, ["bn", "seam", "drop"]),
    "sliced": (Sliced, ["bn", "seam"]),
    "halves": (Halves, ["bn", "seam"]),
    "wider": (Wider, ["bn", "seam"]),
    "ignored": (Ignored, ["bn", "act"]),
    "viewed": (Viewed, []),
    "parts": (Parts, ["patches.conv"]),
}


def seeded(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point() and name != "scale":
                noise = torch.randn(value.shape, generator=generator)
                value.copy_(noise.abs() + 0.5 if "var" in name else 0.4 * noise)
    return model.eval()


def at_node(model, x, name, is_ignored):
    seen = {}

    def hook(_module, _inputs, value):
        seen["value"] = value
        # What follows overwrites the copy.
        return None if is_ignored else value.clone()

    handle = model.get_submodule(name).register_forward_hook(hook)
    logits = model(x)
    handle.remove()
    value = seen["value"]
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), value)
    cam = (gradient.mean((2, 3), keepdim=True) * value).sum(1).relu().detach()
    return {"feature": value.detach().clone(), "gradient": gradient, "cam": cam}


def numbers(tensor):
    return {"shape": list(tensor.shape), "data": tensor.double().flatten().tolist()}


def main(folder):
    x = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(2))
    expected = {}
    for name, (make, nodes) in MODELS.items():
        model = seeded(make())
        exact = copy.deepcopy(model).double()
        with torch.no_grad():
            torch.jit.trace(model, x, check_trace=False).save(str(folder / f"{name}-traced.pt"))
            torch.jit.script(model).save(str(folder / f"{name}-scripted.pt"))
            entry = {"logits": numbers(exact(x.double())), "nodes": {}}
        for node in nodes:
            # A hook whose copy takes the place of a result that is ignored, or of one of two names, would make another
            # model.
            is_ignored = name == "ignored" and node == "act"
            hooked = "bn" if node == "drop" else node
            double, single = at_node(exact, x.double(), hooked, is_ignored), at_node(model, x, hooked, is_ignored)
            entry["nodes"][node] = {
                key: {**numbers(value), "rounding": float((single[key].double() - value).abs().max())}
                for key, value in double.items()
            }
        expected[name] = entry
    (folder / "expected.json").write_text(json.dumps({"images": numbers(x), "models": expected}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
