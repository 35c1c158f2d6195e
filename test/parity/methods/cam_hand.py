"""A model whose maps can be worked out with pencil and paper, and two peers' maps of an image that is nearly
nothing."""

from pathlib import Path

import cam_peers as peers
import torch
from cam_models import Subject
from reference_file import save_reference
from slim_archive import slim
from torch import Tensor, nn

LINEAR = [[4, 4, 0, 0, -10], [-4, 0, 0, 11, 0], [8, 0, 7, 0, 0]]
SQUARED = [[2, 0, 0, 0, 0], [0, 0, 0, 0, 0], [-4, 0, 0, 0, 0]]
# Total activations of 4e-7, 2e-7 and 1e-7, so that an epsilon of 1e-7 or 1e-8 counts for each channel in its own way.
NEARLY_NOTHING = [[1e-7, 0, 2e-7, 1e-7], [0, 1.5e-7, 0.5e-7, 0], [0.2e-7, 0.2e-7, 0.2e-7, 0.4e-7]]


class Hand(nn.Module):
    """Scores of 5 classes: linear in the means of three channels and of their squares. `features` is the input
    itself."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        self.features.weight.data = torch.eye(3)[:, :, None, None]
        self.linear = nn.Parameter(torch.tensor(LINEAR, dtype=torch.float32))
        self.squared = nn.Parameter(torch.tensor(SQUARED, dtype=torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        a = self.features(images)
        return a.mean(dim=(2, 3)) @ self.linear + (a * a).mean(dim=(2, 3)) @ self.squared


def save_hand(folder: Path, versions: dict[str, str]) -> None:
    path = folder / "cam-hand.pt"
    torch.jit.script(Hand().eval()).save(str(path))
    slim(path)
    images = torch.tensor(NEARLY_NOTHING).reshape(1, 3, 2, 2)
    subject = Subject("hand", Hand().eval(), images, [0], ("features",), None, None, True)
    save_reference(
        {
            "input": images,
            "pytorch-grad-cam": peers.by_pytorch_grad_cam("XGradCAM", subject, "features"),
            "torch-cam": peers.by_torch_cam("XGradCAM", subject, "features"),
        },
        folder / "cam-hand.safetensors",
        versions,
    )
    print("hand", path.stat().st_size // 1024, "KB")
