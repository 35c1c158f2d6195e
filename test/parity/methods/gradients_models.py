"""Models and images of the references: the shipped ones, and small archives with the inputs of
test/parity/references."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent), str(ROOT / "models")]

import torchvision_operators  # noqa: F401  (must come first)
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn


@dataclass(frozen=True)
class Explained:
    """A model in evaluation mode, images [N, 3, H, W] as it gets them, and the class asked of each."""

    model: nn.Module
    images: Tensor
    targets: list[int]


class Logits(nn.Module):
    """An archive whose output is a tuple or a dictionary, as its logits."""

    def __init__(self, archive: torch.jit.ScriptModule):
        super().__init__()
        self.archive = archive

    def forward(self, images: Tensor) -> Tensor:
        output = self.archive(images)
        if isinstance(output, dict):
            return output["logits"]
        return output[0] if isinstance(output, (tuple, list)) else output


class Frozen(nn.Module):
    """A frozen archive, by its operators: its weights are constants of the graph, which `double` has to widen."""

    def __init__(self, archive: torch.jit.ScriptModule):
        super().__init__()
        self.graph = archive.graph.copy()
        self.constants = {
            node.output().debugName(): node.output().toIValue()
            for node in self.graph.nodes()
            if node.kind() == "prim::Constant"
        }

    def double(self) -> "Frozen":
        for name, value in self.constants.items():
            if isinstance(value, Tensor) and value.is_floating_point():
                self.constants[name] = value.double()
        return super().double()

    def forward(self, images: Tensor) -> Tensor:
        values = self.constants | {list(self.graph.inputs())[1].debugName(): images}
        for node in self.graph.nodes():
            inputs = [values[each.debugName()] for each in node.inputs() if node.kind() != "prim::Constant"]
            if node.kind() == "prim::ListConstruct":
                values[node.output().debugName()] = inputs
            elif node.kind().startswith("aten::"):
                schema = torch._C.parse_schema(node.schema())
                operator = getattr(getattr(torch.ops.aten, node.kind()[6:]), schema.overload_name or "default")
                named = {
                    argument.name: value
                    for argument, value in zip(schema.arguments, inputs, strict=True)
                    if argument.kwarg_only
                }
                values[node.output().debugName()] = operator(*inputs[: len(inputs) - len(named)], **named)
            else:
                assert node.kind() == "prim::Constant", node.kind()
        return values[next(self.graph.outputs()).debugName()]


# Two pictures of two objects each; the first object's class is asked for.
PICTURES = (("000.png", 11), ("002.png", 2))


def shipped(name: str) -> Explained:
    from resnet import ResNet
    from vit import VisionTransformer

    card = json.loads((ROOT / f"models/{name}.json").read_text())
    model = (ResNet if name.startswith("resnet") else VisionTransformer)(len(card["labels"])).eval()
    model.load_state_dict(torch.jit.load(ROOT / f"models/{name}.pt", map_location="cpu").state_dict())
    mean, std = (torch.tensor(card["input"][part]).reshape(3, 1, 1) for part in ("mean", "std"))
    images = []
    for file, _ in PICTURES:
        pixels = torch.from_numpy(np.array(Image.open(ROOT / "models/eval" / file).convert("RGB"))).permute(2, 0, 1)
        assert tuple(pixels.shape) == (3, 224, 224)
        images.append((pixels.float() / 255 - mean) / std)
    return Explained(model, torch.stack(images), [target for _, target in PICTURES])


def archive(name: str, count: int = 2) -> Explained:
    reference = load_file(HERE.parent / f"references/{name}.safetensors")
    model = Logits(torch.jit.load(HERE.parent / f"archives/{name}.pt", map_location="cpu")).eval()
    images = reference["input"][:count]
    return Explained(model, images, [int(reference["target"])] * count)


def eager(name: str, count: int = 2) -> Explained:
    """The same weights as a module of Python, for peers that put hooks on it."""
    from exports import KINDS

    kind = re.sub(r"-(traced|scripted|frozen).*$", "", name)
    built = KINDS[kind].build().eval()
    explained = archive(name, count)
    built.load_state_dict(explained.model.archive.state_dict())
    with torch.no_grad():
        difference = (built(explained.images) - explained.model(explained.images)).abs().max().item()
    assert difference < 1e-5, (name, difference)
    return Explained(built, explained.images, explained.targets)


def opened(name: str) -> Explained:
    """A frozen archive, whose weights can be upcast and whose operators a dispatch mode sees."""
    explained = archive(name)
    network = Frozen(explained.model.archive)
    with torch.no_grad():
        difference = (network(explained.images) - explained.model(explained.images)).abs().max().item()
    assert difference < 1e-5, (name, difference)
    return Explained(network, explained.images, explained.targets)
