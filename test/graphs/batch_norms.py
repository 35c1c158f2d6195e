"""A batch norm between convolutions and tokens, as in XCiT and LeViT, and its gradients in float64.

    python test/graphs/batch_norms.py OUT

writes OUT/batch-norms.pt and OUT/expected.json: images [2, 3, 32, 48], and of each the gradient of logit 1 with respect
to its pixels.
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.second, self.norm, self.fc = nn.BatchNorm2d(8), nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x):
        x = F.gelu(self.first(self.stem(x)))
        x = self.norm(self.second(x).flatten(2).transpose(1, 2))
        # Back to a map and through a norm again: the values lie as tokens do.
        x = self.second(x.transpose(1, 2).reshape(x.shape[0], 8, 16, 24))
        return self.fc(F.gelu(x.flatten(2).transpose(1, 2) ** 2).mean(1))


def main(folder):
    generator = torch.Generator().manual_seed(3)
    model = Tokens().eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator)
                value.copy_(noise.abs() + 0.5 if "var" in name else 0.5 * noise)
    images = torch.randn(2, 3, 32, 48, generator=generator)
    with torch.no_grad():
        torch.jit.trace(model, images, check_trace=False).save(str(folder / "batch-norms.pt"))
    # In a batch of two: of one image alone PyTorch 2.13 takes this gradient wrong.
    exact = images.double().requires_grad_()
    (gradient,) = torch.autograd.grad(model.double()(exact)[:, 1].sum(), exact)
    numbers = {
        name: {"shape": list(value.shape), "data": value.detach().double().flatten().tolist()}
        for name, value in (("images", images), ("gradient", gradient))
    }
    (folder / "expected.json").write_text(json.dumps(numbers))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
