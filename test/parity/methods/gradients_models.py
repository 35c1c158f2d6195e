"""Models and images of the references: the shipped ones, and small archives with the inputs of test/parity/references."""
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent), str(ROOT / 'models')]

import torchvision_operators  # noqa: F401, E402  (must come first)
import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402


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
            return output['logits']
        return output[0] if isinstance(output, (tuple, list)) else output


# Two pictures of two objects each; the first object's class is asked for.
PICTURES = (('000.png', 11), ('002.png', 2))


def shipped(name: str) -> Explained:
    from resnet import ResNet
    from vit import VisionTransformer
    card = json.loads((ROOT / f'models/{name}.json').read_text())
    model = (ResNet if name.startswith('resnet') else VisionTransformer)(len(card['labels'])).eval()
    model.load_state_dict(torch.jit.load(ROOT / f'models/{name}.pt', map_location='cpu').state_dict())
    mean, std = (torch.tensor(card['input'][part]).reshape(3, 1, 1) for part in ('mean', 'std'))
    images = []
    for file, _ in PICTURES:
        pixels = torch.from_numpy(np.array(Image.open(ROOT / 'models/eval' / file).convert('RGB'))).permute(2, 0, 1)
        assert tuple(pixels.shape) == (3, 224, 224)
        images.append((pixels.float() / 255 - mean) / std)
    return Explained(model, torch.stack(images), [target for _, target in PICTURES])


def archive(name: str, count: int = 2) -> Explained:
    reference = load_file(HERE.parent / f'references/{name}.safetensors')
    model = Logits(torch.jit.load(HERE.parent / f'archives/{name}.pt', map_location='cpu')).eval()
    images = reference['input'][:count]
    return Explained(model, images, [int(reference['target'])] * count)


def eager(name: str, count: int = 2) -> Explained:
    """The same weights as a module of Python, for peers that put hooks on it."""
    from exports import KINDS
    kind = re.sub(r'-(traced|scripted|frozen).*$', '', name)
    built = KINDS[kind].build().eval()
    explained = archive(name, count)
    built.load_state_dict(explained.model.archive.state_dict())
    with torch.no_grad():
        difference = (built(explained.images) - explained.model(explained.images)).abs().max().item()
    assert difference < 1e-5, (name, difference)
    return Explained(built, explained.images, explained.targets)
