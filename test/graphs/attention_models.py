"""Models whose attention, loops, channels and operators are written in the ways that people write them, with what
PyTorch says of them.

    python test/graphs/attention_models.py OUT [NAME ...]

writes OUT/NAME.pt and OUT/expected.json, whose arrays are OUT/*.npy. Weights are seeded, no bias is zero. `attention`
holds the probabilities of every site as [N * windows, heads, queries, keys], recorded at the softmax while the module
itself runs.
"""

import json
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
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


def cnn(channels=3, outputs=6):
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 16, 3, 2, 1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, outputs),
    )


class Attention(nn.Module):
    """Self-attention of [N, tokens, channels]; `form` is how its products are written."""

    def __init__(self, form, width=24, heads=3):
        super().__init__()
        self.form, self.heads = form, heads
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mix = nn.Linear(heads, heads)
        self.sink = nn.Parameter(torch.randn(heads))

    def forward(self, x):
        count, tokens, width = x.shape
        parts = self.qkv(self.norm(x)).view(count, tokens, 3, self.heads, width // self.heads)
        scale = (width // self.heads) ** -0.5
        if self.form == "einsum":
            q, k, v = parts.unbind(2)
            a = (torch.einsum("bihd,bjhd->bhij", q, k) * scale).softmax(-1)
            y = torch.einsum("bhij,bjhd->bihd", a, v).flatten(2)
            return x + self.out(y)
        if self.form == "einsum-dots":
            q, k, v = parts.permute(2, 0, 3, 1, 4)
            y = torch.einsum("...ij,...jd->...id", (torch.einsum("...id,...jd->...ij", q, k) * scale).softmax(-1), v)
            return x + self.out(y.transpose(1, 2).flatten(2))
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        if self.form == "from-right":
            y = (v.mT @ (q @ k.mT * scale).softmax(-1).mT).mT
        elif self.form == "cosine":
            y = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * self.sink.exp().view(-1, 1, 1)).softmax(-1) @ v
        elif self.form == "sinks":
            scores = torch.cat([q @ k.mT * scale, self.sink.view(1, -1, 1, 1).expand(count, -1, tokens, 1)], -1)
            y = scores.softmax(-1)[..., :-1] @ v
        elif self.form == "gated":
            y = F.scaled_dot_product_attention(q, k, v) * (q * 3).sigmoid()
        elif self.form == "talking":
            a = (q @ k.mT * scale).softmax(-1)
            y = self.mix(a.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) @ v
        elif self.form == "grouped":
            y = F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True)
        elif self.form in ("windows-first", "heads-first"):
            windows = [part.unflatten(2, (4, tokens // 4)) for part in (q, k, v)]
            if self.form == "windows-first":
                windows = [part.transpose(1, 2) for part in windows]
            y = F.scaled_dot_product_attention(*windows)
            y = (y.transpose(1, 2) if self.form == "windows-first" else y).flatten(2, 3)
        return x + self.out(y.transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    """Patches of 8 pixels, two blocks, read at the class token or by the mean."""

    def __init__(self, form, has_class_token=True, width=24):
        super().__init__()
        block = Cascade if form == "cascade" else lambda: Attention(form)
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, width)) if has_class_token else None
        self.place = nn.Parameter(torch.randn(1, 16, width) * 0.3)
        self.blocks = nn.Sequential(block(), block())
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 6)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.place
        if self.token is not None:
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        x = self.norm(self.blocks(x))
        return self.head(x[:, 0] if self.token is not None else x.mean(1))


class Cascade(nn.Module):
    """One head after another, as in EfficientViT: each gets its own channels and what the head before it made."""

    def __init__(self, width=24, heads=3):
        super().__init__()
        self.heads, self.norm, self.out = heads, nn.LayerNorm(width), nn.Linear(width, width)
        self.qkvs = nn.ModuleList([nn.Linear(width // heads, 3 * width // heads) for _ in range(heads)])

    def forward(self, x):
        found, made = [], 0
        for part, qkv in zip(self.norm(x).chunk(self.heads, -1), self.qkvs):
            q, k, v = qkv(part + made).unsqueeze(1).chunk(3, -1)
            made = ((q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) @ v).squeeze(1)
            found.append(made)
        return x + self.out(torch.cat(found, -1))


class CountedLoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.body = nn.Conv2d(3, 3, 1), cnn()

    def forward(self, x):
        y = x * 0.5
        for i in range(3):
            x, y = self.mix(y) + x * float(i), x
        for _ in range(x.size(1) - 3):
            x = x * 2
        return self.body(x + y)


class SizeLoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = cnn()

    def forward(self, x):
        while x.size(-1) > 20:
            x = F.max_pool2d(x, 2)
            if x.size(-1) < 3:
                break
        print("turned")
        return self.body(x)


class Resizing(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = cnn()

    def forward(self, x):
        return self.body(F.interpolate(x, size=[24, 24], mode="bilinear"))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches, self.lstm, self.gru, self.fc = (
            nn.Conv2d(3, 8, 8, 8),
            nn.LSTM(8, 8, batch_first=True),
            nn.GRU(8, 8, batch_first=True),
            nn.Linear(8, 6),
        )

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.fc(self.gru(self.lstm(x)[0])[0].mean(1) * torch.linalg.vector_norm(x, dim=(1, 2)).unsqueeze(1))


class ChannelsLastInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = cnn()

    def forward(self, x):
        return self.body(x.permute(0, 3, 1, 2))


def encoder_with_pooling():
    layer = nn.TransformerEncoderLayer(24, 4, 48, 0.1, "gelu", batch_first=True, norm_first=True)
    parts = dict(
        p=nn.Conv2d(3, 24, 8, 8),
        enc=nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        norm=nn.LayerNorm(24),
        pool=nn.Linear(24, 1),
        fc=nn.Linear(24, 6),
    )

    def forward(s, x):
        x = s.norm(s.enc(s.p(x).flatten(2).transpose(1, 2)))
        return s.fc((s.pool(x).softmax(1).transpose(1, 2) @ x).squeeze(1))

    return Of(forward, **parts)


def of_timm(name, **options):
    def make():
        import timm

        return timm.create_model(name, num_classes=6, **options)

    return make


def nest():
    from timm.models.nest import Nest

    return Nest(
        img_size=64, num_levels=3, embed_dims=(24, 24, 24), num_heads=(2, 3, 4), depths=(1, 1, 1), num_classes=6
    )


def swin_of_transformers():
    """Its last width is a square, so its pooled channels [N, 64, 1] look like 8 x 8 tokens."""
    import transformers

    config = transformers.SwinConfig(
        image_size=64, num_labels=6, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4], window_size=2
    )
    return Of(lambda s, x: s.m(pixel_values=x).logits, m=transformers.SwinForImageClassification(config))


def beit_with_relative_bias():
    import transformers

    config = transformers.BeitConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        image_size=64,
        patch_size=16,
        num_labels=6,
        use_relative_position_bias=True,
        use_absolute_position_embeddings=True,
    )
    return Of(lambda s, x: s.m(pixel_values=x).logits, m=transformers.BeitForImageClassification(config))


def siglip():
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=32,
        patch_size=8,
        embed_dim=24,
        depth=2,
        num_heads=3,
        num_classes=6,
        class_token=False,
        global_pool="map",
    )


def densenet():
    from torchvision.models import DenseNet

    return DenseNet(8, (2, 2), 8, 2, 0, 6)


ATTENTION = ["einsum", "einsum-dots", "from-right", "cosine", "sinks", "gated", "talking", "grouped"]

# The model; options: shape of its images, scripted, the Grad-CAM's layer with its grid and prefix, whether 5-D
# attention has heads first.
MODELS = {
    **{
        form: (lambda form=form: Transformer(form), {"cam": ["blocks.1.norm", 4, 4, 1], "attention": True})
        for form in ATTENTION
    },
    "windows-first": (lambda: Transformer("windows-first", False), {"attention": True}),
    "heads-first": (lambda: Transformer("heads-first", False), {"attention": True, "heads_first": True}),
    "counted-loop": (CountedLoop, {"scripted": True}),
    "size-loop": (SizeLoop, {"scripted": True, "shape": [3, 64, 64]}),
    "resizing": (Resizing, {"scripted": True}),
    "scripted-densenet": (densenet, {"scripted": True, "shape": [3, 64, 64]}),
    "recurrent": (Recurrent, {}),
    "local-response-norm": (
        lambda: Of(
            lambda s, x: s.fc(F.local_response_norm(F.relu(s.c(x)), 5).mean((2, 3))),
            c=nn.Conv2d(3, 8, 3, 2, 1),
            fc=nn.Linear(8, 6),
        ),
        {},
    ),
    "gray": (lambda: cnn(1), {"shape": [1, 28, 28], "layer": "4"}),
    "spectral": (lambda: cnn(11), {"shape": [11, 30, 30], "layer": "4"}),
    "channels-last-input": (ChannelsLastInput, {"shape": [32, 40, 3]}),
    "sequence-pooling": (encoder_with_pooling, {"cam": ["norm", 4, 4, 0]}),
    "swin-v2": (
        of_timm("swinv2_tiny_window8_256", img_size=64, window_size=4, embed_dim=24, depths=(2, 1), num_heads=(2, 4)),
        {"shape": [3, 64, 64], "attention": True},
    ),
    "hiera": (
        of_timm("hiera_tiny_224", img_size=(64, 64), embed_dim=16, num_heads=1, stages=(1, 1, 1, 1)),
        {"shape": [3, 64, 64], "attention": True, "heads_first": True, "cam": ["blocks.3", 2, 2, 0]},
    ),
    "tnt": (
        of_timm(
            "tnt_s_patch16_224", img_size=64, depth=2, embed_dim=48, inner_dim=12, num_heads_inner=2, num_heads_outer=3
        ),
        {"shape": [3, 64, 64], "attention": True, "cam": ["blocks.1.norm_out", 4, 4, 1]},
    ),
    "twins": (
        of_timm(
            "twins_svt_small",
            img_size=64,
            embed_dims=(16, 32, 32, 32),
            num_heads=(2, 2, 4, 4),
            depths=(2, 2, 2, 2),
            wss=(4, 4, 2, 2),
        ),
        {"shape": [3, 64, 64], "attention": True},
    ),
    "nest": (nest, {"shape": [3, 64, 64], "attention": True, "heads_first": True}),
    "cait": (
        of_timm("cait_xxs24_224", img_size=64, depth=2, embed_dim=24, num_heads=2),
        {"shape": [3, 64, 64], "attention": True, "cam": ["blocks_token_only.1.norm1", 4, 4, 1]},
    ),
    "convit": (
        of_timm("convit_tiny", scriptable=True, img_size=64, depth=2, local_up_to_layer=1, embed_dim=12),
        {"scripted": True, "shape": [3, 64, 64]},
    ),
    "levit": (
        of_timm("levit_128s", img_size=64, embed_dim=(16, 32, 32), num_heads=(2, 2, 4), depth=(1, 1, 1), key_dim=8),
        {"shape": [3, 64, 64], "attention": True},
    ),
    "siglip-pooling": (siglip, {"attention": True}),
    "swin-pooler": (
        swin_of_transformers,
        {"shape": [3, 64, 64], "attention": True, "cam": ["m.swin.layernorm", 2, 2, 0]},
    ),
    "beit-relative-bias": (beit_with_relative_bias, {"shape": [3, 64, 64], "attention": True}),
    "side-by-side": (
        of_timm("vit_small_patch16_18x2_224", img_size=64, depth=2, embed_dim=24, num_heads=3),
        {"shape": [3, 64, 64], "attention": True},
    ),
    "cascade": (lambda: Transformer("cascade"), {"attention": True, "cam": ["blocks.1.norm", 4, 4, 1]}),
}


@contextmanager
def recording(heads_first):
    """What every softmax over keys gives, in the order of execution."""
    seen = []
    softmax, fused = torch.Tensor.softmax, F.scaled_dot_product_attention

    def record(probabilities):
        if probabilities.dim() == 5:
            probabilities = (probabilities.transpose(1, 2) if heads_first else probabilities).flatten(0, 1)
        if probabilities.dim() == 4:
            seen.append(probabilities.detach().clone())

    def by_hand(value, dim=-1, **options):
        result = softmax(value, dim, **options)
        if dim in (-1, value.dim() - 1):
            record(result)
        return result

    def opened(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        if enable_gqa:
            k, v = (part.repeat_interleave(q.shape[-3] // part.shape[-3], -3) for part in (k, v))
        scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
        probabilities = softmax(scores if attn_mask is None else scores + attn_mask, -1)
        record(probabilities)
        return probabilities @ v

    torch.Tensor.softmax, F.scaled_dot_product_attention = by_hand, opened
    modules, nn.Softmax.forward = nn.Softmax.forward, lambda self, x: by_hand(x, self.dim)
    try:
        yield seen
    finally:
        torch.Tensor.softmax, F.scaled_dot_product_attention, nn.Softmax.forward = softmax, fused, modules


def seeded(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            scale = 0.4 if value.dim() == 1 else 0.6 / max(1, value[0].numel()) ** 0.5
            value.copy_(
                torch.randn(value.shape, generator=generator) * scale
                + (1 if value.dim() == 1 and "norm" in name and name.endswith("weight") else 0)
            )
        for name, value in model.named_buffers():
            if "running" in name:
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return model.eval()


def grad_cam(model, x, index, layer, height, width, prefix):
    seen = {}
    handle = dict(model.named_modules())[layer].register_forward_hook(
        lambda _module, _inputs, value: seen.update(feature=value)
    )
    scores = model(x)
    handle.remove()
    (gradient,) = torch.autograd.grad(scores[:, index].sum(), seen["feature"])
    tokens = [
        value[:, prefix : prefix + height * width].unflatten(1, (height, width))
        for value in (seen["feature"], gradient)
    ]
    cam = (tokens[1].mean((1, 2), keepdim=True) * tokens[0]).sum(-1).relu()
    low, high = cam.amin((1, 2), keepdim=True), cam.amax((1, 2), keepdim=True)
    return ((cam - low) / (high - low).clamp_min(1e-12)).detach()


def main(folder, names):
    def save(name, tensor):
        np.save(folder / f"{name}.npy", tensor.detach().float().numpy())
        return f"{name}.npy"

    expected = {}
    for name in names or MODELS:
        make, options = MODELS[name]
        torch.manual_seed(0)
        model = seeded(make())
        x = torch.randn(2, *options.get("shape", [3, 32, 32]), generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            archive = (
                torch.jit.script(model)
                if options.get("scripted")
                else torch.jit.trace(model, x, check_trace=False, strict=False)
            )
            archive.save(str(folder / f"{name}.pt"))
            with recording(options.get("heads_first", False)) as seen:
                scores = model(x)
        entry = {"input": save(f"{name}.input", x), "scores": save(f"{name}.scores", scores)}
        if options.get("attention"):
            # A sink is no key.
            sites = [site[..., :-1] if name == "sinks" else site for site in seen]
            entry["attention"] = [save(f"{name}.attention.{i}", site) for i, site in enumerate(sites)]
        if "cam" in options:
            # A class of which both maps have something above zero.
            index = next(i for i in range(6) if (grad_cam(model, x, i, *options["cam"]).amax((1, 2)) == 1).all())
            single, double = (
                grad_cam(model, x, index, *options["cam"]),
                grad_cam(seeded(make()).double(), x.double(), index, *options["cam"]),
            )
            entry["gradCam"] = {
                "class": index,
                "layer": options["cam"][0],
                "map": save(f"{name}.cam", double),
                "rounding": float((single.double() - double).abs().max()),
            }
        expected[name] = entry
    (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    sys.path.insert(0, "models")
    from torchvision_import import import_torchvision

    import_torchvision()
    main(Path(sys.argv[1]), sys.argv[2:])
