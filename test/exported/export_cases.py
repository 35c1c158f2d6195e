"""Exports small models that each have something of their own, and writes PyTorch's scores beside them.

OUT/NAME.pt2, OUT/NAME-inference.pt2, OUT/NAME-core.pt2 and OUT/expected.json.

Usage: python test/exported/export_cases.py OUT
"""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

CLASSES = 5
BATCH = {0: Dim("batch", min=1, max=1024)}


def image(height: int, width: int) -> Tensor:
    """As the tests have it: in doubles, rounded once."""
    values = torch.sin(0.37 * torch.arange(3 * height * width, dtype=torch.float64))
    return values.float().reshape(1, 3, height, width)


class Plain(nn.Module):
    """In-place operators, a module that is called twice, constants, and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, stride=2)
        self.bn = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.blocks = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(8, 16, 3, padding=1, stride=2)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(16, CLASSES)
        self.register_buffer("scale", torch.rand(3, 1, 1) + 0.5, persistent=False)
        self.shift = torch.tensor([0.5])

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.scale + self.shift + torch.tensor([0.25, 0.5, 0.75]).view(3, 1, 1)
        x = self.relu(self.bn(self.conv(x)))
        x = self.relu(x + self.blocks[0](x))
        return self.fc(self.drop(torch.flatten(self.pool(self.blocks(x)), 1)))


class Gated(nn.Module):
    """Activations that core ATen takes apart, and a batch norm between a layer and attention, as LeViT has it."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.qkv = nn.Linear(16, 48, bias=False)
        self.norm = nn.BatchNorm1d(48)
        self.project = nn.Linear(16, 16)
        self.up = nn.ModuleList([nn.Linear(16, 24) for _ in range(3)])
        self.down = nn.ModuleList([nn.Linear(24, 16) for _ in range(3)])
        self.gate = nn.Linear(16, 16)
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        qkv = self.qkv(x)
        qkv = self.norm(qkv.flatten(0, 1)).reshape_as(qkv)
        query, key, value = (each.unflatten(2, (4, 4)).transpose(1, 2) for each in qkv.chunk(3, dim=2))
        attended = F.scaled_dot_product_attention(query, key, value)
        x = x + self.project(F.hardswish(attended.transpose(1, 2).flatten(2)))
        for up, down, activation in zip(self.up, self.down, (F.hardswish, F.silu, F.mish)):
            x = x + down(activation(3 * up(x)))
        x = x.mean(1)
        return self.fc(x * F.hardsigmoid(self.gate(x)))


class Bent(nn.Module):
    """Activations with parameters or numbers of their own, and a division by a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, stride=2)
        self.layers = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=1) for _ in range(5)])
        self.each, self.one = nn.PReLU(8), nn.PReLU()
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        activations = (
            self.each,
            self.one,
            lambda x: F.softplus(x, 2.0, 15.0),
            F.softplus,
            lambda x: F.celu(x, 0.5),
        )
        x = F.celu(self.first(x))
        for layer, activation in zip(self.layers, activations):
            x = x + activation(3 * layer(x))
        return self.fc(F.normalize(x, dim=1).mean((2, 3)))


class Several(nn.Module):
    def __init__(self, as_dict: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, stride=2)
        self.fc = nn.Linear(8, CLASSES)
        self.as_dict = as_dict

    def forward(self, x: Tensor) -> object:
        features = torch.relu(self.conv(x))
        scores = self.fc(features.mean((2, 3)))
        return {"features": features, "logits": scores} if self.as_dict else (features, (scores, scores.softmax(1)))


class Shared(nn.Module):
    """One weight under two names, one that is a part of another, and one that is laid out in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.third = nn.Conv2d(6, 6, 3, padding=1)
        self.third.weight = self.second.weight
        both = torch.randn(CLASSES, 12)
        self.left = nn.Parameter(both[:, :6])
        self.every_other = nn.Parameter(both[:, ::2])
        self.turned = nn.Parameter(torch.randn(6, CLASSES).t())

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.third(torch.relu(self.second(torch.relu(self.first(x)))))).mean((2, 3))
        return F.linear(x, self.left) + F.linear(x, self.every_other) * F.linear(x, self.turned)


class Kinds(nn.Module):
    """Buffers of whole numbers, of truths, of doubles, and a scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.fc = nn.Linear(8, CLASSES)
        self.register_buffer("order", torch.tensor([7, 2, 5, 0, 1, 3, 6, 4]))
        self.register_buffer("small", torch.tensor([1, 2, 3], dtype=torch.int32))
        self.register_buffer("mask", torch.tensor([True, False, True, True, False, True, True, True]))
        self.register_buffer("doubles", torch.linspace(0.5, 1.5, 8, dtype=torch.float64))
        self.register_buffer("number", torch.tensor(0.75))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x)).mean((2, 3))[:, self.order]
        x = torch.where(self.mask, x, x * self.number) * self.doubles.float() + self.small.sum()
        return self.fc(x)


class Sized(nn.Module):
    """What is computed depends on the sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = F.interpolate(self.conv(x), size=(height // 2, (width * 3) // 4), mode="bilinear")
        return self.fc(torch.relu(x).mean((2, 3))) / max(height, width)


class Attending(nn.Module):
    """nn.MultiheadAttention, and attention written out beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 8, stride=8)
        self.token = nn.Parameter(torch.randn(1, 1, 24))
        self.norm = nn.LayerNorm(24)
        self.attention = nn.MultiheadAttention(24, 3, batch_first=True)
        self.qkv = nn.Linear(24, 72)
        self.head = nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        normed = self.norm(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        q, k, v = self.qkv(x).chunk(3, -1)
        x = x + (q @ k.transpose(-2, -1) * 24**-0.5).softmax(-1) @ v
        return self.head(x[:, 0])


class TurningNorm(nn.LayerNorm):
    """Over the channels of a map, as MetaFormer, FocalNet and GCViT have it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Turning(nn.Module):
    """Modules that return turned axes, and modules that turn them back: of a pair, each is in a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.norm = TurningNorm(16)
        self.blocks = nn.Sequential(TurningNorm(16), TurningNorm(16))
        self.rows = nn.Flatten(2)
        self.columns = nn.Unflatten(2, (4, 6))
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.patches(x))
        x = x + self.blocks(x)
        x = self.columns(self.rows(x.transpose(2, 3)).unflatten(2, (6, 4)).transpose(2, 3).flatten(2))
        return self.fc(x.mean((2, 3)))


class Blocks(nn.Module):
    """`with` statements, one within another, around modules: torch.export makes programs of them within the program."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, 4)
        self.act = nn.GELU()
        self.gate = nn.Linear(8, 8)
        self.after = nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        with torch.autocast(device_type="cpu", enabled=False):
            x = self.act(x.float())
            doubled = x * 2
            with torch.no_grad():
                gate = torch.sigmoid(self.gate(doubled.mean((2, 3))))
        x = x * gate[:, :, None, None] + doubled
        with torch.no_grad():
            shift = self.after(x)
        return self.fc((x + shift).mean((2, 3)))


class Frozen(nn.Module):
    """Nothing before its head has a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU())
        self.neck = nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.body(x)
        return self.fc(self.neck(x).mean((2, 3)))


class Autocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(device_type="cpu", dtype=torch.bfloat16):
            return self.fc(x.mean((2, 3)))


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = x * 2
        with torch.no_grad():
            x[:, 1:].mul_(2)
        return self.fc(x.mean((2, 3)))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (self.fc(x.mean((2, 3))),))


@torch.library.custom_op("sightline_test::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    return x * 2


@twice.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(twice(x).mean((2, 3)))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.fc((x * y).mean((2, 3)))


def features(model: nn.Module, x: Tensor) -> dict[str, list[float]]:
    """What each module returns, by its path; of its second call `path:1`, and so on. Not those that return several."""
    found: dict[str, list[float]] = {}
    calls: dict[str, int] = {}

    def keep(path: str):
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            call = calls.get(path, 0)
            calls[path] = call + 1
            if isinstance(output, Tensor):
                found[f"{path}:{call}" if call else path] = output.flatten().tolist()

        return hook

    hooks = [module.register_forward_hook(keep(path)) for path, module in model.named_modules() if path]
    with torch.no_grad():
        model(x)
    for each in hooks:
        each.remove()
    return found


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    expected: dict[str, dict[str, list[float]]] = {}
    outputs: dict[str, dict[str, list[float]]] = {}

    def save(name: str, model: nn.Module, example: Tensor, shapes: object, sizes: list[tuple[int, int]]) -> None:
        model.eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.uniform_(-0.5, 0.5)
        program = torch.export.export(model, (example,), dynamic_shapes=shapes)
        torch.export.save(program, str(out / f"{name}.pt2"))
        torch.export.save(program.run_decompositions({}), str(out / f"{name}-inference.pt2"))
        torch.export.save(program.run_decompositions(), str(out / f"{name}-core.pt2"))
        expected[name] = {}
        outputs[name] = features(model, image(*sizes[0]))
        for height, width in sizes:
            with torch.no_grad():
                given = model(image(height, width))
            if isinstance(given, dict):
                given = given["logits"]
            if isinstance(given, tuple):
                given = given[1][0]
            expected[name][f"{height}x{width}"] = given[0].tolist()

    sides = {0: Dim("batch", min=1, max=1024), 2: Dim("height", min=8, max=512), 3: Dim("width", min=8, max=512)}
    save("plain", Plain(), torch.randn(2, 3, 32, 40), (sides,), [(32, 40), (24, 16)])
    save("one", Plain(), torch.randn(1, 3, 32, 40), None, [(32, 40)])
    save("gated", Gated(), torch.randn(2, 3, 16, 24), (BATCH,), [(16, 24)])
    save("bent", Bent(), torch.randn(2, 3, 16, 24), (BATCH,), [(16, 24)])
    save("tuple", Several(False), torch.randn(2, 3, 16, 24), (BATCH,), [(16, 24)])
    save("dict", Several(True), torch.randn(2, 3, 16, 24), (BATCH,), [(16, 24)])
    save("shared", Shared(), torch.randn(2, 3, 16, 24), (BATCH,), [(16, 24)])
    save("kinds", Kinds(), torch.randn(2, 3, 16, 24), (BATCH,), [(16, 24)])
    steps = {0: Dim("batch", min=1, max=1024), 2: 4 * Dim("rows", min=2, max=16), 3: 4 * Dim("columns", min=2, max=16)}
    save("sized", Sized(), torch.randn(2, 3, 32, 24), (steps,), [(32, 24), (48, 40)])
    save("attending", Attending(), torch.randn(2, 3, 16, 24), (BATCH,), [(16, 24)])

    save("turning", Turning(), torch.randn(2, 3, 16, 24), (BATCH,), [(16, 24)])

    save("blocks", Blocks(), torch.randn(2, 3, 16, 24), (BATCH,), [(16, 24)])
    save("frozen", Frozen(), torch.randn(2, 3, 16, 24), (BATCH,), [(16, 24)])

    torch.export.save(torch.export.export(Autocast().eval(), (torch.randn(1, 3, 8, 8),)), str(out / "autocast.pt2"))
    torch.export.save(torch.export.export(InPlace().eval(), (torch.randn(1, 3, 8, 8),)), str(out / "in-place.pt2"))
    torch.export.save(torch.export.export(Plain().eval(), (torch.randn(2, 3, 16, 16),)), str(out / "two-images.pt2"))
    torch.export.save(torch.export.export(Branching(), (torch.randn(1, 3, 8, 8),)), str(out / "branching.pt2"))
    torch.export.save(torch.export.export(Custom(), (torch.randn(1, 3, 8, 8),)), str(out / "custom.pt2"))
    pair = (torch.randn(1, 3, 8, 8), torch.randn(1, 3, 8, 8))
    torch.export.save(torch.export.export(Two(), pair), str(out / "two-inputs.pt2"))
    (out / "expected.json").write_text(
        json.dumps({"torch": torch.__version__, "scores": expected, "features": outputs})
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
