"""A small segmenter and a small detector, in the forms in which the well-known ones are exported."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Segmenter(nn.Module):
    """Five classes at a quarter of the image's size, upsampled to it, in a dict as torchvision's return it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU()
        )
        self.classifier = nn.Sequential(nn.Conv2d(12, 10, 3, 1, 1), nn.ReLU(), nn.Conv2d(10, 5, 1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        scores = self.classifier(self.body(images))
        size = [images.size(2), images.size(3)]
        return {"out": F.interpolate(scores, size=size, mode="bilinear", align_corners=False)}


class Detector(nn.Module):
    """One box for each cell of 4 x 4 pixels, of three classes: [N, 4 + 3, boxes] as YOLO's exports have it, the four
    being the center's x and y, the width and the height in pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU())
        self.head = nn.Conv2d(8, 7, 1)

    def forward(self, images: Tensor) -> Tensor:
        made = self.head(self.body(images))
        rows = torch.arange(made.size(2), dtype=made.dtype).view(1, 1, -1, 1).expand(made.size(0), 1, -1, made.size(3))
        columns = torch.arange(made.size(3), dtype=made.dtype).view(1, 1, 1, -1).expand_as(rows)
        x = 4 * (columns + made[:, 0:1].sigmoid())
        y = 4 * (rows + made[:, 1:2].sigmoid())
        sides = 24 * made[:, 2:4].sigmoid()
        return torch.cat([x, y, sides, made[:, 4:].sigmoid()], 1).flatten(2)
