"""Small classifiers of the shapes that people export, written with what PyTorch says of them.

    python test/graphs/models.py OUT

writes OUT/NAME.pt and OUT/expected.json: for each model an input, its outputs and, for `gradcam` = [layer, output,
class], the Grad-CAM map of the logit in float64, and by how much PyTorch's own float32 map differs from it. Weights are
seeded, no bias is zero.
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F


class Of(nn.Module):
    """A module from its parts and a function of them."""

    def __init__(self, run, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.run = run

    def forward(self, x):
        return self.run(self, x)


def cnn(outputs):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, outputs),
    )


def folded(convolutions):
    """A view of a map as rows, as in PyTorch's own tutorial."""
    layers = [layer for i in range(convolutions) for layer in (nn.Conv2d(3 if i == 0 else 8, 8, 3, 1, 1), nn.ReLU())]
    return Of(
        lambda s, x: s.fc(F.max_pool2d(s.body(x), 4).view(-1, 8 * 8 * 8)),
        body=nn.Sequential(*layers),
        fc=nn.Linear(512, 10),
    )


def body(run, **parts):
    return Of(run, body=cnn(8), **parts)


class Encoder(nn.Module):
    """PyTorch's own encoder on patches, by the mean of its tokens; traced without gradients it becomes one operator a
    layer."""

    def __init__(self, norm_first, activation):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, 0.0, activation, batch_first=True, norm_first=norm_first)
        self.patches, self.encoder, self.fc = (
            nn.Conv2d(3, 16, 8, 8),
            nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
            nn.Linear(16, 6),
        )

    def forward(self, x):
        return self.fc(self.encoder(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


class Padded(nn.Module):
    """Padding apart from its convolution, as TensorFlow's ports have it, and `padding='same'` with an even kernel."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 8, 4, padding="same"), nn.Linear(8, 6)

    def forward(self, x):
        return self.fc(F.relu(self.b(F.relu(self.a(F.pad(x, (0, 1, 0, 1)))))).mean((2, 3)))


# The model, the size of its images and, for Grad-CAM: the layer, the output (None: the only one), the class.
MODELS = {
    "folded-2": (lambda: folded(2), 32, ("body.2", None, 3)),
    "folded-5": (lambda: folded(5), 32, ("body.8", None, 3)),
    "image-and-copy": (
        lambda: Of(lambda s, x: (lambda a, b: a + b)(*s.body(torch.cat([x, x * 0.5 + 0.1])).chunk(2)), body=cnn(6)),
        32,
        None,
    ),
    "view-as": (
        lambda: Of(
            lambda s, x: s.fc(s.c2(s.c(x)).view_as(torch.zeros(x.shape[0], 8 * 32 * 32))),
            c=nn.Conv2d(3, 8, 3, 1, 1),
            c2=nn.Conv2d(8, 8, 3, 1, 1),
            fc=nn.Linear(8192, 4),
        ),
        32,
        ("c2", None, 1),
    ),
    "max-pool": (
        lambda: Of(
            lambda s, x: s.fc(F.adaptive_max_pool2d(F.relu(s.c(x)), 1).flatten(1)),
            c=nn.Conv2d(3, 8, 3, 2, 1),
            fc=nn.Linear(8, 10),
        ),
        32,
        ("c", None, 2),
    ),
    "max-of-axis": (
        lambda: Of(
            lambda s, x: s.fc(F.relu(s.c(x)).flatten(2).max(-1)[0]), c=nn.Conv2d(3, 8, 3, 2, 1), fc=nn.Linear(8, 10)
        ),
        32,
        ("c", None, 2),
    ),
    "padded": (Padded, 32, ("b", None, 2)),
    "encoder-norm-first": (lambda: Encoder(True, "gelu"), 32, None),
    "encoder-norm-last": (lambda: Encoder(False, "relu"), 32, None),
    "batch-statistics": (
        lambda: Of(
            lambda s, x: s.fc(s.norm(s.c(x)).relu().mean((2, 3))),
            c=nn.Conv2d(3, 8, 3, 2, 1),
            norm=nn.BatchNorm2d(8, track_running_stats=False),
            fc=nn.Linear(8, 4),
        ),
        32,
        None,
    ),
    "minus-mean-of-batch": (lambda: Of(lambda s, x: s.body(x - 0.5 * x.mean(0)), body=cnn(4)), 32, None),
    "softmax-over-batch": (
        lambda: Of(lambda s, x: s.fc(s.body(x).softmax(0)), body=cnn(8), fc=nn.Linear(8, 4)),
        32,
        None,
    ),
    "one-logit": (lambda: cnn(1), 32, ("4", None, 0)),
    "one-logit-squeezed": (lambda: Of(lambda s, x: s.body(x).squeeze(1), body=cnn(1)), 32, None),
    "one-logit-squeezed-all": (lambda: Of(lambda s, x: s.body(x).squeeze(), body=cnn(1)), 32, None),
    "one-probability": (lambda: Of(lambda s, x: s.body(x).sigmoid().squeeze(-1), body=cnn(1)), 32, None),
    "ends-in-softmax": (lambda: Of(lambda s, x: s.body(x).mul(9).softmax(-1), body=cnn(10)), 32, None),
    "ends-in-log-softmax": (lambda: Of(lambda s, x: F.log_softmax(s.body(x).mul(9), 1), body=cnn(10)), 32, None),
    "labels": (lambda: Of(lambda s, x: s.body(x).sigmoid(), body=cnn(5)), 32, None),
    "heads": (
        lambda: body(
            lambda s, x: (lambda f: (s.age(f), s.sex(f), s.kind(f)))(s.body(x)),
            age=nn.Linear(8, 1),
            sex=nn.Linear(8, 2),
            kind=nn.Linear(8, 5),
        ),
        32,
        ("body.4", "2", 3),
    ),
    "named-heads": (
        lambda: body(
            lambda s, x: (lambda f: {"breed": s.breed(f), "colour": s.colour(f)})(s.body(x)),
            breed=nn.Linear(8, 3),
            colour=nn.Linear(8, 5),
        ),
        32,
        ("body.4", "colour", 3),
    ),
    "halves": (
        lambda: body(
            lambda s, x: (lambda a, b: {"first": a, "second": b})(*s.fc(s.body(x)).chunk(2, 1)), fc=nn.Linear(8, 10)
        ),
        32,
        ("body.4", "second", 3),
    ),
    "embedding-first": (
        lambda: body(lambda s, x: (lambda f: (f, s.fc(f)))(s.body(x)), fc=nn.Linear(8, 10)),
        32,
        ("body.4", "1", 3),
    ),
}


def seeded(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=generator) * (0.3 if value.dim() > 1 else 0.5))
        for name, value in model.named_buffers():
            if "running" in name:
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return model.eval()


def flat(output, path=""):
    if isinstance(output, torch.Tensor):
        return {path or "output": output}
    items = output.items() if isinstance(output, dict) else enumerate(output)
    return {
        key: value for name, each in items for key, value in flat(each, f"{path}.{name}" if path else str(name)).items()
    }


def grad_cam(model, x, layer, output, index):
    seen = {}

    def hook(_module, _inputs, value):
        seen["feature"] = value

    handle = dict(model.named_modules())[layer].register_forward_hook(hook)
    returned = flat(model(x))
    handle.remove()
    logits = returned[output or "output"]
    (gradient,) = torch.autograd.grad(logits[:, index].sum(), seen["feature"])
    cam = (gradient.mean((2, 3), keepdim=True) * seen["feature"]).sum(1).relu()
    low, high = cam.amin((1, 2), keepdim=True), cam.amax((1, 2), keepdim=True)
    return ((cam - low) / (high - low).clamp_min(1e-12)).detach()


def numbers(tensor):
    return {"shape": list(tensor.shape), "data": tensor.double().flatten().tolist()}


def main(folder):
    expected = {}
    for name, (make, size, cam) in MODELS.items():
        torch.manual_seed(0)
        model = seeded(make())
        x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(2))
        x[1] = x[1] * 3 + 1
        with torch.no_grad():
            torch.jit.trace(model, x, check_trace=False, strict=False).save(str(folder / f"{name}.pt"))
            # Each alone: what a user means by an image's answer.
            singles = [flat(model(x[i : i + 1])) for i in range(2)]
        entry = {
            "input": numbers(x),
            "outputs": {
                key: numbers(torch.stack([single[key].reshape(-1) for single in singles])) for key in singles[0]
            },
        }
        if cam is not None:
            single, double = grad_cam(model, x, *cam), grad_cam(seeded(make()).double(), x.double(), *cam)
            entry["gradCam"] = {
                "layer": cam[0],
                "output": cam[1],
                "class": cam[2],
                "map": numbers(double),
                "rounding": float((single.double() - double).abs().max()),
            }
        expected[name] = entry
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
