"""Archives of which sightline said what was not true, or what LibTorch says.

    python test/graphs/messages_models.py OUT

writes OUT/NAME.pt. Weights are seeded.
"""

import sys
from pathlib import Path

import torch
from torch import nn


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches, self.attention, self.fc = (
            nn.Conv2d(3, 16, 8, 8),
            nn.MultiheadAttention(16, 2, 0.1, batch_first=True),
            nn.Linear(16, 5),
        )

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.fc((x + self.attention(x, x, x)[0]).mean(1))


class Parted(nn.Module):
    """The first convolution reads three channels of the images, the second the rest."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(2, 8, 3), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc((self.a(x[:, :3]) + self.b(x[:, 3:])).mean((2, 3)))


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4 * 16 * 16, 3)

    def forward(self, x):
        return self.fc(x.flatten(1))


class Viewed(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.fc = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.c(x).view(x.size(0), 4, 8, 8).mean((2, 3)))


def main(folder):
    torch.manual_seed(0)
    small = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.Dropout(0.5),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    image = torch.randn(1, 3, 32, 32)
    torch.jit.trace(small.train(), image, check_trace=False).save(str(folder / "in-training.pt"))
    torch.jit.script(small.train()).save(str(folder / "scripted-in-training.pt"))
    torch.jit.script(Attending().eval()).save(str(folder / "scripted-attention.pt"))
    torch.jit.script(Parted().eval()).save(str(folder / "parted.pt"))
    torch.jit.script(Flat().eval()).save(str(folder / "flat.pt"))
    torch.jit.script(Viewed().eval()).save(str(folder / "viewed.pt"))
    torch.jit.script(small.eval())._save_for_lite_interpreter(str(folder / "lite.pt"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
