"""Writes deeplift-MODEL.safetensors: DeepLIFT and DeepLIFT-SHAP by their definition in float64, and by captum.

Usage: python test/parity/methods/deeplift.py [MODEL...]
needs: pip install captum==0.9.0

Tensors: `targets` [N]; attributions summed over the colors [N, H, W], of 224 pixels at every 16th from the 7th on:
`deeplift` from zeros, `deeplift.color` from one color, `deeplift-shap` over zeros, one gray and one color, and
`deeplift.captum` where captum knows every operator.

The definition is written in elementary functions alone: each is rescaled, products are shared in halves. A softmax is
exp(x - log(sum(exp(x)))), a layer norm the product of the centered values and of 1 / sqrt(mean of their squares).
"""

import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent))

import gradients_models as models
from gradients_models import Explained

import torch
import torch.nn.functional as F
from gradients_formulas import several_baselines
from reference_file import save_reference
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

HERE = Path(__file__).parent
COLOR = torch.tensor([0.5, -0.25, 1.0]).reshape(3, 1, 1)
EAGER = [
    "timm-resnet-traced",
    "torchvision-resnet-basic-scripted",
    "timm-vit-average-traced",
    "timm-vit-qk-norm-traced",
    "timm-deit-distilled-traced",
]
SUBJECTS: dict[str, Callable[[], Explained]] = {
    **{name: (lambda name=name: models.shipped(name)) for name in ("resnet-tiny-shapes", "vit-tiny-shapes")},
    **{name: (lambda name=name: models.eager(name)) for name in EAGER},
}


class Rescaled(torch.autograd.Function):
    """An elementary function of a batch of two, image and baseline: what arrives times the ratio of differences."""

    @staticmethod
    def forward(ctx, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            y = function(leaf)
        ctx.x, ctx.y = leaf, y
        return y.detach()

    @staticmethod
    def backward(ctx, arrived: Tensor):
        (slope,) = torch.autograd.grad(ctx.y, ctx.x, torch.ones_like(ctx.y))
        (x, x0), (y, y0) = ctx.x.detach().chunk(2), ctx.y.detach().chunk(2)
        near = (x - x0).abs() < 1e-10
        ratio = torch.where(near, slope.chunk(2)[0], (y - y0) / torch.where(near, 1, x - x0))
        return arrived * torch.cat([ratio, ratio]), None


class Product(torch.autograd.Function):
    """A product of two factors that differ: each by the mean of the other."""

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        ctx.a, ctx.b, ctx.function = a.detach(), b.detach(), function
        return function(a, b)

    @staticmethod
    def backward(ctx, arrived: Tensor):
        def mean(value: Tensor) -> Tensor:
            first, second = value.chunk(2)
            return torch.cat([first + second] * 2) / 2

        with torch.enable_grad():
            a, b = ctx.a.clone().requires_grad_(), ctx.b.clone().requires_grad_()
            (of_a,) = torch.autograd.grad(ctx.function(a, mean(ctx.b)), a, arrived)
            (of_b,) = torch.autograd.grad(ctx.function(mean(ctx.a), b), b, arrived)
        return of_a, of_b, None


class MaxPool(torch.autograd.Function):
    """What a window's maximum gains goes to its place on the image, what it loses to its place on the baseline."""

    @staticmethod
    def forward(ctx, x: Tensor, options: tuple) -> Tensor:
        y, ctx.places = F.max_pool2d(x, *options, return_indices=True)
        ctx.x, ctx.y = x, y
        return y

    @staticmethod
    def backward(ctx, arrived: Tensor):
        (x, x0), (y, y0), (places, places0) = (each.chunk(2) for each in (ctx.x, ctx.y, ctx.places))
        arrived = arrived.chunk(2)[0]
        top = torch.maximum(y, y0)
        flat = torch.zeros_like(x).flatten(2)
        gained = flat.scatter_add(2, places.flatten(2), (arrived * (top - y0)).flatten(2))
        lost = flat.scatter_add(2, places0.flatten(2), (arrived * (y - top)).flatten(2))
        plain = flat.scatter_add(2, places.flatten(2), arrived.flatten(2)).reshape(x.shape)
        near = (x - x0).abs() < 1e-10
        result = torch.where(near, plain, (gained + lost).reshape(x.shape) / torch.where(near, 1, x - x0))
        return torch.cat([result, result]), None


def times(a: Tensor, b: Tensor) -> Tensor:
    return Product.apply(a, b, torch.mul)


def softmax(x: Tensor, dim: int) -> Tensor:
    # What is taken off both images alike changes nothing.
    shift = x.detach().amax(dim, keepdim=True)
    shift = torch.cat([torch.maximum(*shift.chunk(2))] * 2)
    total = Rescaled.apply(x - shift, torch.exp).sum(dim, keepdim=True)
    return Rescaled.apply(x - shift - Rescaled.apply(total, torch.log), torch.exp)


def layer_norm(x: Tensor, shape, weight=None, bias=None, eps: float = 1e-5) -> Tensor:
    axes = tuple(range(-len(shape), 0))
    centered = x - x.mean(axes, keepdim=True)
    variance = Rescaled.apply(centered, torch.square).mean(axes, keepdim=True) + eps
    y = times(centered, Rescaled.apply(variance, torch.rsqrt))
    return (y if weight is None else y * weight) + (0 if bias is None else bias)


def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **_) -> Tensor:
    assert not is_causal
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = Product.apply(query, key.transpose(-2, -1), torch.matmul) * scale
    return Product.apply(softmax(scores if attn_mask is None else scores + attn_mask, -1), value, torch.matmul)


ELEMENTWISE = {F.relu, torch.relu, torch.relu_, F.gelu, F.silu, torch.sigmoid, torch.tanh, Tensor.relu, F.hardswish}


class DeepLift(TorchFunctionMode):
    def __torch_function__(self, function, types, arguments=(), named=None):
        named = dict(named or {})
        both_differ = [isinstance(each, Tensor) and each.requires_grad for each in arguments[:2]] == [True, True]
        if function in ELEMENTWISE:
            named.pop("inplace", None)
            return Rescaled.apply(arguments[0], lambda x: function(x, **named))
        if function in (F.max_pool2d, torch.max_pool2d):
            keys = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
            given = dict(zip(keys, arguments[1:])) | {key: named[key] for key in keys if key in named}
            defaults = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False}
            return MaxPool.apply(arguments[0], tuple((defaults | given)[key] for key in keys))
        if function in (F.softmax, torch.softmax, Tensor.softmax):
            return softmax(arguments[0], named.get("dim", arguments[1] if len(arguments) > 1 else None))
        if function in (F.layer_norm, torch.layer_norm):
            return layer_norm(*arguments[:5], **named)
        if function is F.scaled_dot_product_attention:
            return attention(*arguments, **named)
        if function in (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm) and both_differ:
            return Product.apply(*arguments, torch.matmul)
        if function in (torch.mul, Tensor.mul, Tensor.__mul__) and both_differ:
            return times(*arguments)
        return function(*arguments, **named)


def by_definition(explained: Explained, image: Tensor, baseline: Tensor, target: int) -> Tensor:
    """Attributions [3, H, W] of a model in float64; they must sum to the gain."""
    for parameter in explained.model.parameters():
        parameter.requires_grad_(False)
    pair = torch.stack([image, baseline]).double().requires_grad_()
    with DeepLift():
        scores = explained.model(pair)[:, target]
    multipliers = torch.autograd.grad(scores[0], pair)[0][0]
    attributions = multipliers * (pair[0] - pair[1]).detach()
    gain = (scores[0] - scores[1]).item()
    assert abs(attributions.sum().item() - gain) < 1e-9 * max(1, abs(gain)), (attributions.sum().item(), gain)
    return attributions


class Apart(nn.Module):
    """captum gives a rectifier what arrives at the pooling behind it, not what leaves that: their hooks lie on one
    tensor. Here they lie on two."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x.clone())


def unpooled(values: Tensor, places: Tensor, *settings) -> Tensor:
    """captum takes one of the windows that share a place; here they are summed."""
    size = settings[-1]
    flat = torch.zeros(size, dtype=values.dtype).flatten(2)
    return flat.scatter_add(2, places.flatten(2), values.flatten(2)).reshape(size)


def by_captum(explained: Explained, image: Tensor, target: int) -> Tensor:
    import captum.attr

    model = copy.deepcopy(explained.model)
    model.maxpool = Apart(model.maxpool)
    with patch.object(F, "max_unpool2d", unpooled):
        peer = captum.attr.DeepLift(model)
        return peer.attribute(image[None].double(), baselines=0.0, target=target).detach()[0]


def maps(name: str, explained: Explained) -> dict[str, Tensor]:
    found: dict[str, list[Tensor]] = {}
    wide = replace(explained, model=explained.model.double())
    for image, target in zip(explained.images, explained.targets, strict=True):
        zeros = torch.zeros_like(image)
        several = [by_definition(wide, image, each, target) for each in several_baselines(image[None])]
        made = {
            "deeplift": by_definition(wide, image, zeros, target),
            "deeplift.color": by_definition(wide, image, COLOR.expand_as(image), target),
            "deeplift-shap": torch.stack(several).mean(0),
        }
        if name == "timm-resnet-traced":
            made["deeplift.captum"] = by_captum(wide, image, target)
            difference = (made["deeplift.captum"] - made["deeplift"]).abs().max() / made["deeplift"].abs().max()
            print("captum is apart by", difference.item())
        for key, value in made.items():
            value = value.sum(0).float()
            found.setdefault(key, []).append(value[7::16, 7::16] if len(value) == 224 else value)
    return {"targets": torch.tensor(explained.targets)} | {
        key: torch.stack(values).contiguous() for key, values in found.items()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or SUBJECTS:
        tensors = maps(name, SUBJECTS[name]())
        print(name, sorted(tensors), flush=True)
        save_reference(tensors, HERE / f"deeplift-{name}.safetensors", {"source": "float64, captum 0.9.0"})
