"""Small classifiers with one operator each between their features and their scores, for what a model may compute.

    python test/graphs/operator_models.py OUT

writes OUT/NAME.pt and OUT/expected.json: one image, and for each model its scores and the gradient that PyTorch finds
in float64, from which its own float32 differs by `rounding`. Some of the operators let no gradient through. Weights are
seeded, no bias is zero.
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations


class Around(nn.Module):
    """Features of 16 channels, an operator, and a head of 10 classes."""

    def __init__(self, operator, scripted_part=None):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.after = nn.Conv2d(16, 16, 3, 1, 1)
        self.head = nn.Linear(16, 10)
        self.part = scripted_part
        self.operator = operator

    def forward(self, x):
        x = self.features(x)
        x = self.part(x) if self.part is not None else self.operator(x)
        return self.head(F.relu(self.after(x)).mean((2, 3)))


class WithoutGradient(nn.Module):
    """Scripted, so that its block stays one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = x * 2
        return y + x


class OnlyWithoutGradient(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = x * 2
        return y


class WithinABranch(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Conv2d(16, 16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        if x.dim() == 4:
            with torch.no_grad():
                with torch.no_grad():
                    y = self.gate(x)
                y = torch.sigmoid(y).mul_(2)
        return x * y


class InPlaceWithoutGradient(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        with torch.no_grad():
            y.unbind(1)[1].mul_(2)
        return y


def rows(x):
    return x.flatten(2).transpose(1, 2)


def pixels(t, x):
    return t.transpose(1, 2).reshape(x.shape)


def square(x):
    """Of each image a positive definite matrix, 16 x 16."""
    r = rows(x)
    return r.transpose(1, 2) @ r / r.shape[1] + torch.eye(16)


ELEMENTWISE = {
    **{
        name: getattr(F, name)
        for name in (
            "relu6",
            "elu",
            "selu",
            "celu",
            "gelu",
            "silu",
            "mish",
            "hardswish",
            "hardsigmoid",
            "hardtanh",
            "hardshrink",
            "softshrink",
            "tanhshrink",
            "softplus",
            "softsign",
            "logsigmoid",
            "leaky_relu",
            "sigmoid",
            "tanh",
            "rrelu",
        )
    },
    **{
        name: getattr(torch, name)
        for name in (
            "abs",
            "exp",
            "expm1",
            "log1p",
            "sin",
            "cos",
            "atan",
            "asinh",
            "erf",
            "square",
            "sign",
            "floor",
            "ceil",
            "round",
            "trunc",
            "frac",
            "sinc",
            "i0",
        )
    },
    **{name: getattr(torch.special, name) for name in ("i1", "i0e", "erfcx", "ndtr", "bessel_j0", "bessel_j1")},
    # After a ReLU these would be infinite, or their derivatives.
    **{name: lambda x, name=name: getattr(torch.special, name)(x + 0.1) for name in ("gammaln", "digamma", "entr")},
    "sqrt": lambda x: torch.sqrt(x + 0.1),
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "threshold": lambda x: F.threshold(x, 0.1, 0.0),
    "clamp": lambda x: x.clamp(0.1, 0.5),
    "where": lambda x: torch.where(x > 0.2, x, x * 0.1),
    "mask": lambda x: x * (x > 0.2),
    "heaviside": lambda x: x * torch.heaviside(x - 0.2, torch.tensor(0.5)),
    "heaviside_alone": lambda x: torch.heaviside(x - 0.2, torch.tensor(0.5)),
    "step_alone": lambda x: (x > 0.2).float(),
    "sign_alone": lambda x: torch.sign(x - 0.2),
    "pow": lambda x: (x + 0.1) ** 1.5,
    "pow_of": lambda x: 2.0**x,
    "atan2": lambda x: torch.atan2(x, x + 1),
    "hypot": lambda x: torch.hypot(x, x + 1),
    "logaddexp": lambda x: torch.logaddexp(x, 1 - x),
    "xlogy": lambda x: torch.xlogy(x, x + 1),
    "fmod": lambda x: torch.fmod(x, 0.3),
    "remainder": lambda x: torch.remainder(x, 0.3),
    "lerp": lambda x: torch.lerp(x, 1 - x, 0.3),
    "addcmul": lambda x: torch.addcmul(x, x, x, value=0.5),
    "addcdiv": lambda x: torch.addcdiv(x, x, x + 1, value=0.5),
    "maximum": lambda x: torch.maximum(x, 0.5 - x),
    "nan_to_num": lambda x: torch.nan_to_num(torch.where(x > 0.1, x, torch.nan)),
    "polygamma": lambda x: torch.polygamma(1, x + 1),
    "bitwise": lambda x: x * ((x > 0.1) & (x < 0.9)),
    "to_half": lambda x: x.half().float(),
    "to_double": lambda x: x.double().sin().float(),
    "to_int": lambda x: (x * 8).int().float(),
    "fake_quantize": lambda x: torch.fake_quantize_per_tensor_affine(x, 0.02, 0, -128, 127),
    "straight_through": lambda x: x + (torch.round(x * 8) / 8 - x).detach(),
    "detach": lambda x: x.detach(),
    "detach_gate": lambda x: x * torch.sigmoid(x).detach(),
}

MOVES = {
    "channel_shuffle": lambda x: F.channel_shuffle(x, 4),
    "native_channel_shuffle": lambda x: F.native_channel_shuffle(x, 4),
    "pixel_shuffle": lambda x: F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2),
    "flip": lambda x: x.flip(3),
    "roll": lambda x: x.roll(2, 3),
    "rot90": lambda x: x.rot90(1, (2, 3)),
    "gather": lambda x: x.gather(1, torch.arange(15, -1, -1).view(1, 16, 1, 1).expand(x.shape)),
    "index_select": lambda x: x.index_select(1, torch.arange(15, -1, -1)),
    "take_along": lambda x: torch.take_along_dim(x, x.argsort(1), 1),
    "masked_fill": lambda x: x.masked_fill(x < 0.1, 0.0),
    "masked_scatter": lambda x: x.masked_scatter(x < 0.1, x * 0.5),
    "scatter": lambda x: torch.zeros_like(x).scatter(1, torch.arange(16).view(1, 16, 1, 1).expand(x.shape), x),
    "scatter_add": lambda x: torch.zeros_like(x).scatter_add(
        1, (torch.arange(16) // 2).view(1, 16, 1, 1).expand(x.shape), x
    ),
    "index_add": lambda x: torch.zeros_like(x).index_add(1, torch.arange(16), x),
    "index_put": lambda x: x.index_put((torch.tensor([0]), torch.tensor([1])), torch.tensor(0.5)),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1)[:, :16],
    "tril": lambda x: x.tril(),
    "pad_reflect": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect")[:, :, 1:-1, 1:-1],
    "pad_replicate": lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate")[:, :, :-2, :-2],
    "pad_circular": lambda x: F.pad(x, (1, 1, 1, 1), mode="circular")[:, :, 2:, 2:],
    "unfold": lambda x: F.fold(F.unfold(x, 3, padding=1), x.shape[-2:], 3, padding=1),
    "unfold_tensor": lambda x: x.unfold(2, 2, 2).sum(-1).repeat_interleave(2, 2),
    "tile": lambda x: x.tile(1, 2, 1, 1)[:, :16],
    "unbind": lambda x: torch.stack(x.unbind(1)[::-1], 1),
    "as_strided": lambda x: x.contiguous().as_strided(x.shape, (1024, 64, 1, 8)),
    "diagonal": lambda x: x + torch.diag_embed(x.diagonal(0, 2, 3)),
    "movedim": lambda x: x.movedim(1, -1).relu().movedim(-1, 1),
}

MIXES = {
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "softmin": lambda x: F.softmin(x, 1),
    "glu": lambda x: F.glu(torch.cat([x, x.flip(1)], 1), 1),
    "normalize": lambda x: F.normalize(x, dim=1),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "group_norm": lambda x: F.group_norm(x, 4),
    "instance_norm": F.instance_norm,
    "rms_norm": lambda x: F.rms_norm(x, x.shape[-1:], eps=1e-5),
    "local_response_norm": lambda x: F.local_response_norm(x, 3),
    "cumsum": lambda x: x.cumsum(2),
    "cumprod": lambda x: (x + 0.5).cumprod(1),
    "cummax": lambda x: x.cummax(3).values,
    "logcumsumexp": lambda x: x.logcumsumexp(2),
    "logsumexp": lambda x: x.logsumexp(1, keepdim=True) + x,
    "sort": lambda x: x.sort(1).values,
    "topk": lambda x: x.topk(16, 1).values,
    "kthvalue": lambda x: x.kthvalue(3, 1, keepdim=True).values + x,
    "median": lambda x: x.median(1, keepdim=True).values + x,
    "mode": lambda x: x.mode(1, keepdim=True).values + x,
    "amax": lambda x: x.amax(1, keepdim=True) + x,
    "max_dim": lambda x: x.max(1, keepdim=True).values + x,
    "argmax": lambda x: x + x.argmax(1, keepdim=True) / 16,
    "argmax_alone": lambda x: (x.argmax(1, keepdim=True) / 16).expand(x.shape),
    "std": lambda x: x / (x.std(1, keepdim=True) + 0.1),
    "var": lambda x: x - x.var((2, 3), keepdim=True),
    "norm": lambda x: x / (x.norm(dim=1, keepdim=True) + 0.1),
    "quantile": lambda x: x - x.quantile(0.5, dim=1, keepdim=True),
    "prod": lambda x: x + (x[:, :3] + 0.5).prod(1, keepdim=True),
    "renorm": lambda x: x.renorm(2, 0, 1.0),
    "diff": lambda x: x + x.diff(dim=1, prepend=x[:, :1]),
    "cosine": lambda x: x * F.cosine_similarity(x, x.flip(1), 1).unsqueeze(1),
    "cdist": lambda x: pixels(torch.cdist(rows(x), torch.ones(1, 16, 16) * torch.arange(16.0)[:, None] / 16), x),
    "pdist": lambda x: x * F.pdist(x[0].flatten(1)).mean(),
    "pairwise": lambda x: x * F.pairwise_distance(rows(x), rows(x).flip(1)).reshape(x.shape[0], 1, *x.shape[2:]),
    "max_pool": lambda x: F.max_pool2d(x, 3, 1, 1),
    "avg_pool": lambda x: F.avg_pool2d(x, 3, 1, 1),
    "lp_pool": lambda x: F.lp_pool2d(x + 0.1, 2, 2, 2),
    "fractional_pool": lambda x: F.fractional_max_pool2d(x, 2, (4, 4), _random_samples=torch.full((1, 16, 2), 0.5)),
    "adaptive_max": lambda x: F.adaptive_max_pool2d(x, 4),
    "adaptive_avg": lambda x: F.adaptive_avg_pool2d(x, 4),
    "nearest": lambda x: F.interpolate(x, scale_factor=2.0),
    "nearest_exact": lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest-exact"),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "bilinear_aa": lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True),
    "bicubic": lambda x: F.interpolate(x, scale_factor=2.0, mode="bicubic"),
    "grid_sample": lambda x: F.grid_sample(
        x,
        F.affine_grid(torch.tensor([[[0.9, 0.1, 0.0], [-0.1, 0.9, 0.0]]]).expand(x.shape[0], 2, 3), x.shape, False),
        align_corners=False,
    ),
    "grid_sample_of": lambda x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1).tanh(), align_corners=False),
    "bilinear_form": lambda x: x * torch.einsum("nchw,ndhw,cd->nhw", x, x, torch.eye(16) * 0.1).unsqueeze(1),
    "matrix_exp": lambda x: pixels(rows(x) @ torch.matrix_exp(square(x) * 0.1), x),
    "inverse": lambda x: pixels(rows(x) @ torch.linalg.inv(square(x)), x),
    "cholesky": lambda x: pixels(rows(x) @ torch.linalg.cholesky(square(x)), x),
    "det": lambda x: x * torch.linalg.det(square(x)).view(-1, 1, 1, 1),
    "slogdet": lambda x: x * torch.linalg.slogdet(square(x))[1].view(-1, 1, 1, 1) * 0.05,
    "qr": lambda x: pixels(rows(x) @ torch.linalg.qr(square(x))[1], x),
    "svd": lambda x: x * torch.linalg.svdvals(square(x))[:, :1, None, None],
    "eigh": lambda x: x * torch.linalg.eigvalsh(square(x))[:, :1, None, None],
    "solve": lambda x: pixels(torch.linalg.solve(square(x), rows(x).transpose(1, 2)).transpose(1, 2), x),
    "lu": lambda x: pixels(rows(x) @ torch.linalg.lu(square(x))[2], x),
    "lu_permutation": lambda x: pixels(rows(x) @ torch.linalg.lu(square(x))[0], x),
    "fft": lambda x: torch.fft.irfft2(torch.fft.rfft2(x, norm="ortho") * 0.5, s=x.shape[-2:], norm="ortho"),
    "fft_filter": lambda x: torch.fft.ifft2(torch.fft.fft2(x) * torch.ones(8, 8)).real,
    "attention": lambda x: pixels(
        F.scaled_dot_product_attention(rows(x)[:, None], rows(x)[:, None], rows(x)[:, None])[:, 0], x
    ),
    "bincount": lambda x: x + torch.bincount(x.argmax(1).flatten(), minlength=16).float().mean() * 0.001,
    "bucketize": lambda x: x + torch.bucketize(x, torch.tensor([0.1, 0.2, 0.4])) * 0.1,
    "one_hot": lambda x: x + F.one_hot(x.argmax(1), 16).permute(0, 3, 1, 2) * 0.1,
    "embedding_of_codes": lambda x: F.embedding(x.argmax(1), torch.arange(256.0).view(16, 16) / 256).permute(
        0, 3, 1, 2
    ),
}


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn = kind(16, 16, batch_first=True)

    def forward(self, x):
        return self.rnn(x.flatten(2).transpose(1, 2))[0].transpose(1, 2).reshape(x.shape)


PARTS = {
    "lstm": lambda: Recurrent(nn.LSTM),
    "gru": lambda: Recurrent(nn.GRU),
    "rnn": lambda: Recurrent(nn.RNN),
    "prelu": lambda: nn.PReLU(16),
    "spectral_norm": lambda: parametrizations.spectral_norm(nn.Conv2d(16, 16, 3, 1, 1)),
    "weight_norm": lambda: parametrizations.weight_norm(nn.Conv2d(16, 16, 3, 1, 1)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Conv2d(16, 16, 1)),
    "transposed": lambda: nn.ConvTranspose2d(16, 16, 2, 2),
    "bilinear_layer": lambda: nn.Sequential(nn.BatchNorm2d(16), nn.Conv2d(16, 16, 1, bias=False)),
    "no_grad_within": lambda: torch.jit.script(WithoutGradient()),
    "no_grad_nested": lambda: torch.jit.script(WithinABranch()),
    "no_grad_in_place": lambda: torch.jit.script(InPlaceWithoutGradient()),
    "no_grad_alone": lambda: torch.jit.script(OnlyWithoutGradient()),
}

# Constants of one type, or answers that another type of number changes.
ONLY_FLOAT32 = {"to_half", "to_double", "to_int", "fake_quantize"}

models = {}
for name, operator in {**ELEMENTWISE, **MOVES, **MIXES}.items():
    models[name] = lambda operator=operator: Around(operator)
for name, part in PARTS.items():
    models[name] = lambda part=part: Around(None, part())


def gradient(model, x):
    """Of the logit of class 3 for each pixel, the largest magnitude of its channels; None where there is none."""
    x = x.clone().requires_grad_(True)
    scores = model(x)
    if not scores.requires_grad:
        return None
    try:
        (found,) = torch.autograd.grad(scores[0, 3], x, allow_unused=True)
    except RuntimeError as error:
        assert "not implemented" in str(error), error
        return None
    return None if found is None else found.abs().amax(1)[0].double()


def frozen(make, dtype):
    """The same weights in each type: they are drawn in float32."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    model = make()
    torch.set_default_dtype(default)
    return model.eval().requires_grad_(False).to(dtype)


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = {}
    for name, make in models.items():
        model = frozen(make, torch.float32)
        torch.jit.trace(model, image, check_trace=False).save(out / f"{name}.pt")
        found = gradient(model, image)
        entry = {
            "scores": model(image).softmax(1)[0].tolist(),
            "gradient": None if found is None else found.flatten().tolist(),
        }
        if found is not None and name not in ONLY_FLOAT32:
            torch.set_default_dtype(torch.float64)
            exact = gradient(frozen(make, torch.float64), image.double())
            torch.set_default_dtype(torch.float32)
            entry |= {"gradient": exact.flatten().tolist(), "rounding": float((found - exact).abs().max())}
        expected[name] = entry
    image = {"shape": list(image.shape), "data": image.flatten().tolist()}
    (out / "expected.json").write_text(json.dumps({"image": image, "models": expected}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
