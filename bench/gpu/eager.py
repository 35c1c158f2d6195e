"""ResNet50 and ViT-B/16 as PyTorch's users run them, and pytorch-grad-cam where it is installed. Weights are random:
how long a run takes does not depend on them. Nothing but torch is needed.

    python eager.py --device cuda:0 --dtype bf16 --batch 64 --rounds 9

Prints one JSON document: images per second by network and way, and what could not be measured."""

import argparse
import functools
import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


class Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample = None
        if stride != 1 or channels != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        stages, channels = [], 64
        for stage, depth in enumerate([3, 4, 6, 3]):
            width = 64 * 2**stage
            blocks = []
            for block in range(depth):
                blocks.append(Bottleneck(channels, width, 2 if block == 0 and stage > 0 else 1))
                channels = 4 * width
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x):
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return self.fc(x.mean((2, 3)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*qkv.unbind(0))
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    """ViT-B/16 at 224."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 768, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, 768))
        self.places = nn.Parameter(torch.randn(1, 197, 768) * 0.02)
        self.blocks = nn.Sequential(*[Block(768, 12) for _ in range(12)])
        self.norm, self.head = nn.LayerNorm(768, eps=1e-6), nn.Linear(768, 1000)

    def forward(self, x):
        patches = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), patches], 1) + self.places
        return self.head(self.norm(self.blocks(tokens))[:, 0])


NETWORKS = {"resnet50": ResNet50, "vit_base_patch16_224": ViT}


def images_per_second(run, batch: int, rounds: int, device: torch.device) -> float:
    def wait():
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(3):
        run()
    wait()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - started)
    return batch / statistics.median(times)


def plain(model, images):
    def run():
        with torch.inference_mode():
            return model(images)

    return run


def prepared(name: str, how: str, batch: int, device: torch.device, dtype: torch.dtype):
    """The network's forward pass, ready to run."""
    model = NETWORKS[name]().eval().to(device, dtype)
    images = torch.randn(batch, 3, 224, 224, device=device, dtype=dtype)
    if how != "eager" and name == "resnet50":
        model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    return plain(torch.compile(model, mode="max-autotune") if "compile" in how else model, images)


def grad_cam(batch: int, device: torch.device):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = ResNet50().eval().to(device)
    images = torch.randn(batch, 3, 224, 224, device=device)
    cam = GradCAM(model=model, target_layers=[model.layer4[-1]])
    return lambda: cam(input_tensor=images, targets=[ClassifierOutputTarget(1)] * batch)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    device, dtype = torch.device(asked.device), DTYPES[asked.dtype]
    torch.manual_seed(0)
    rows, missing = [], []

    def measure(network: str, how: str, prepare) -> None:
        try:
            run = prepare()
            speed = images_per_second(run, asked.batch, asked.rounds, device)
            rows.append({"network": network, "how": how, "imagesPerSecond": speed})
        except (ImportError, RuntimeError) as error:
            missing.append({"network": network, "how": how, "why": f"{type(error).__name__}: {error}".split("\n")[0]})

    for name in NETWORKS:
        print(f"{name} ...", file=sys.stderr)
        for how in ("eager", "eager, channels last", "torch.compile, max-autotune"):
            measure(name, how, functools.partial(prepared, name, how, asked.batch, device, dtype))
    measure("resnet50", "pytorch-grad-cam", functools.partial(grad_cam, asked.batch, device))
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    print(json.dumps({"torch": torch.__version__, "gpu": gpu, "rows": rows, "missing": missing}))


if __name__ == "__main__":
    main()
