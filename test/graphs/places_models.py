"""Small models whose features keep the places of the image through what people write, or lose them.

    python test/graphs/places_models.py OUT

writes OUT/NAME.pt and OUT/expected.json: for each model an input, its logits and, where `layer` is given, the Grad-CAM
map of class 1 at that layer in float64, and by how much PyTorch's own float32 map differs from it. Weights are seeded,
no bias is zero.
"""

import json
import sys
from pathlib import Path
from typing import List, Optional  # noqa: UP035

import torch
from torch import nn
from torch.nn import functional as F

from models import Of, numbers, seeded


class ResponseNorm(nn.Module):
    """ConvNeXt V2's global response normalization, of [N, H, W, channels]."""

    def __init__(self, channels):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        response = x.norm(p=2, dim=(1, 2), keepdim=True)
        return self.gamma * (x * (response / (response.mean(-1, keepdim=True) + 1e-6))) + self.beta + x


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.wide, self.grn, self.narrow = (
            nn.Conv2d(8, 8, 3, 1, 1),
            nn.LayerNorm(8),
            nn.Linear(8, 16),
            ResponseNorm(16),
            nn.Linear(16, 8),
        )

    def forward(self, x):
        return x + self.narrow(self.grn(F.gelu(self.wide(self.norm(self.conv(x).permute(0, 2, 3, 1)))))).permute(
            0, 3, 1, 2
        )


class ChannelGate(nn.Module):
    """A gate by a convolution across channels, as in ECA: after the mean, all is of one place."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x):
        gate = self.conv(x.mean((2, 3)).unsqueeze(1)).sigmoid()
        return x * gate.view(x.shape[0], -1, 1, 1)


class SpectralGate(nn.Module):
    """A gate by the spectrum of the whole map, whose places nothing tells; it is the same at each place."""

    def forward(self, x):
        return x * torch.fft.fft2(x).abs()[:, :, :1, :1].log1p()


class Halves(nn.Module):
    """Each second token of each axis, then a block: LeViT's way to a smaller grid."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        return self.fc(x.flatten(2).transpose(1, 2).unflatten(1, (8, 8))[:, ::2, ::2].flatten(1, 2))


class Spectrum(nn.Module):
    def forward(self, x):
        return torch.fft.fft2(x).real


class WindowConvolution(nn.Module):
    """A convolution within windows of 4 x 4, as in EfficientViT: each window is a part of the image."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, 1, 1)

    def forward(self, x):
        x = x.unflatten(3, (2, 4)).unflatten(2, (2, 4)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        return self.conv(x).unflatten(0, (-1, 2, 2)).permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


class FilledUp(nn.Module):
    """A map that is filled up to whole windows, pooled and cut again, as in HieraDet."""

    def __init__(self):
        super().__init__()
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        return self.pool(F.pad(x, (0, 8, 0, 8)))[:, :, :4, :4]


class RowPooling(nn.Module):
    """Every two neighbors in a row of tokens, as Next-ViT pools its keys."""

    def forward(self, x):
        return F.avg_pool1d(x.flatten(2), 2).unflatten(2, (8, 4))


def between(middle, after=None):
    """A stem, `middle` and a second convolution; two numbers of each channel are read, so that no layer is averaged
    alone."""
    after = after or nn.Conv2d(8, 8, 3, 1, 1)

    def forward(s, x):
        x = s.stem(x)
        x = s.after(s.middle(x.flatten(2)) if isinstance(middle, nn.Conv1d) else s.middle(x))
        return s.fc(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))

    return Of(forward, stem=nn.Conv2d(3, 8, 3, 4, 1), middle=middle, after=after, fc=nn.Linear(16, 6))


class OfTokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, 1, 1)

    def forward(self, x):
        return self.conv(x.unflatten(2, (8, 8)))


def halves():
    def forward(s, x):
        x = s.halves(s.stem(x))
        return s.fc(torch.cat([x.mean(1), x.amax(1)], 1))

    return Of(forward, stem=nn.Conv2d(3, 8, 3, 4, 1), halves=Halves(), fc=nn.Linear(16, 6))


class InPlace(nn.Module):
    """Activations in place, of which LibTorch's tags say nothing, on a part of a map."""

    def forward(self, x):
        x = x.clone()
        F.hardswish(x[:, :4], inplace=True)
        F.relu6(x[:, 4:], inplace=True)
        return x


class Appended(nn.Module):
    """Scripted, lists are written into; an optional is cast."""

    def __init__(self, from_none):
        super().__init__()
        self.from_none = from_none
        self.mix = nn.Conv2d(16, 8, 1)

    def forward(self, x, shortcut: Optional[torch.Tensor] = None):  # noqa: UP045
        if shortcut is None:
            shortcut = x
        parts: List[torch.Tensor] = []  # noqa: UP006
        if not self.from_none:
            parts = [x[:, :4]]
            parts.append(x[:, 4:])
            parts.append(F.hardswish(parts[0]))
            parts.append(parts[-2] * 2.0)
        else:
            for part in x.split(4, 1):
                parts.append(part)
                parts.append(part.sigmoid())
        out = self.mix(torch.cat(parts, 1))
        out += shortcut
        return out


class Scripted(nn.Module):
    def __init__(self, middle):
        super().__init__()
        self.stem, self.middle, self.after, self.fc = (
            nn.Conv2d(3, 8, 3, 4, 1),
            middle,
            nn.Conv2d(8, 8, 3, 1, 1),
            nn.Linear(16, 6),
        )

    def forward(self, x):
        x = self.after(self.middle(self.stem(x)))
        return self.fc(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


class Inner(nn.Module):
    """A product of each map with itself is no pointwise operator, though its shape stays."""

    def forward(self, x):
        return torch.matrix_exp(x * 0.1)


# The model and the layer whose Grad-CAM is wanted; None: none is chosen by default, and `stem` may be named; empty: no
# map.
MODELS = {
    "hardswish": (lambda: between(nn.Hardswish()), "after"),
    "hardswish-in-place": (lambda: between(nn.Hardswish(inplace=True)), "after"),
    "in-place-on-parts": (lambda: between(InPlace()), "after"),
    "prelu": (lambda: between(nn.PReLU(8)), "after"),
    "log-sigmoid": (lambda: between(nn.LogSigmoid()), "after"),
    "response-norm": (lambda: between(Block()), "after"),
    "channel-gate": (lambda: between(ChannelGate()), "after"),
    "window-convolution": (lambda: between(WindowConvolution()), "after"),
    "filled-up": (lambda: between(FilledUp()), "after"),
    "from-one": (lambda: between(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(8))), "stem"),
    "row-pooling": (lambda: between(RowPooling()), "after"),
    "one-by-one": (lambda: between(nn.Conv1d(8, 8, 1), OfTokens()), "after"),
    "spectral-gate": (lambda: between(SpectralGate()), "after"),
    "appended": (lambda: Scripted(Appended(False)), "after"),
    "appended-to-none": (lambda: Scripted(Appended(True)), "after"),
    "spectrum": (lambda: between(Spectrum()), None),
    "matrix-exponential": (lambda: between(Inner()), None),
    "halves": (halves, ""),
}


def grad_cam(model, x, layer):
    seen = {}
    handle = dict(model.named_modules())[layer].register_forward_hook(
        lambda _module, _inputs, value: seen.update(feature=value)
    )
    logits = model(x)
    handle.remove()
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), seen["feature"])
    cam = (gradient.mean((2, 3), keepdim=True) * seen["feature"]).sum(1).relu()
    low, high = cam.amin((1, 2), keepdim=True), cam.amax((1, 2), keepdim=True)
    return ((cam - low) / (high - low).clamp_min(1e-12)).detach()


def main(folder):
    expected = {}
    for name, (make, layer) in MODELS.items():
        torch.manual_seed(0)
        model = seeded(make())
        x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            archive = (
                torch.jit.script(model)
                if isinstance(model, Scripted)
                else torch.jit.trace(model, x, check_trace=False, strict=False)
            )
            archive.save(str(folder / f"{name}.pt"))
            entry = {"input": numbers(x), "logits": numbers(model(x))}
        if layer != "":
            single, double = (
                grad_cam(model, x, layer or "stem"),
                grad_cam(seeded(make()).double(), x.double(), layer or "stem"),
            )
            entry["gradCam"] = {"map": numbers(double), "rounding": float((single.double() - double).abs().max())}
        expected[name] = entry
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
