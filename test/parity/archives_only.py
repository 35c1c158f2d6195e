"""Archives without a reference: they must be refused, a method must be refused on them, or what they give is known by
hand."""

from pathlib import Path

import torch
import torch.ao.quantization as quantization
from torch import Tensor, nn

from seeded_weights import seed_weights


class SmallConvNet(nn.Module):
    """Convolutions, but no linear head after a mean: the head reads every position."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=4, padding=1), nn.ReLU()
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(8 * 2 * 3, 16), nn.ReLU(), nn.Linear(16, 7))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images))


class QuantisedConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quant = quantization.QuantStub()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.relu2 = nn.ReLU()
        self.fc = nn.Linear(16, 7)
        self.dequant = quantization.DeQuantStub()

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu2(self.conv2(self.relu1(self.conv1(self.quant(images)))))
        return self.dequant(self.fc(features.mean(dim=(2, 3))))


class DynamicallyQuantisedMLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(3 * 8 * 8, 16)
        self.fc2 = nn.Linear(16, 7)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc2(torch.relu(self.fc1(self.flatten(images))))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.fc = nn.Linear(8 + 4, 7)

    def forward(self, images: Tensor, metadata: Tensor) -> Tensor:
        return self.fc(torch.cat([self.conv(images).mean(dim=(2, 3)), metadata], dim=1))


class LinearMask(nn.Module):
    """A segmenter by one 1 x 1 convolution, which returns a dict as torchvision's do: its gradients are its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]]).reshape(2, 3, 1, 1))
            self.classifier.bias.copy_(torch.tensor([0.25, -0.5]))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"out": self.classifier(images)}


class LinearBoxes(nn.Module):
    """A detector of one box per cell of 4 x 4 pixels: [N, cells, 5], the fifth value being the box's score."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Conv2d(3, 5, 4, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        return self.cells(images).flatten(2).transpose(1, 2)


def images(height: int, width: int) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(11))


def save_conv_net(path: Path) -> None:
    torch.jit.trace(seed_weights(SmallConvNet(), 21), images(32, 48)).save(str(path))


def save_mlp(path: Path) -> None:
    model = seed_weights(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 16), nn.ReLU(), nn.Linear(16, 7)), 22)
    torch.jit.script(model).save(str(path))


def save_two_inputs(path: Path) -> None:
    torch.jit.script(seed_weights(TwoInputs(), 23)).save(str(path))


def save_quantised_static(path: Path) -> None:
    torch.backends.quantized.engine = "fbgemm"
    model = seed_weights(QuantisedConvNet(), 24)
    quantization.fuse_modules(model, [["conv1", "relu1"], ["conv2", "relu2"]], inplace=True)
    model.qconfig = quantization.get_default_qconfig("fbgemm")
    quantization.prepare(model, inplace=True)
    model(images(32, 48))
    quantization.convert(model, inplace=True)
    torch.jit.trace(model, images(32, 48)).save(str(path))


def save_quantised_dynamic(path: Path) -> None:
    torch.backends.quantized.engine = "fbgemm"
    model = quantization.quantize_dynamic(seed_weights(DynamicallyQuantisedMLP(), 25), {nn.Linear}, dtype=torch.qint8)
    torch.jit.trace(model, images(8, 8)).save(str(path))


def save_linear_mask(path: Path) -> None:
    torch.jit.script(LinearMask()).save(str(path))


def save_linear_boxes(path: Path) -> None:
    torch.jit.trace(seed_weights(LinearBoxes(), 26), images(8, 8)).save(str(path))


ARCHIVES_ONLY = {
    "linear-mask": save_linear_mask,
    "linear-boxes": save_linear_boxes,
    "conv-net": save_conv_net,
    "mlp": save_mlp,
    "two-inputs": save_two_inputs,
    "quantised-static": save_quantised_static,
    "quantised-dynamic": save_quantised_dynamic,
}
