"""Saves state dicts of the libraries' own models by torch.save, and beside each the scores of one image.

Usage: save_models.py FOLDER
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "models"))
from torchvision_import import import_torchvision

torchvision = import_torchvision()

import timm
import torch

MODELS = {
    "resnet18": torchvision.models.resnet18,
    "resnet50": torchvision.models.resnet50,
    "convnext_tiny": torchvision.models.convnext_tiny,
    "swin_tiny_patch4_window7": torchvision.models.swin_t,
    "vit_tiny_patch16": lambda: timm.create_model("vit_tiny_patch16_224"),
    "deit_tiny_distilled_patch16": lambda: timm.create_model("deit_tiny_distilled_patch16_224"),
}

folder = pathlib.Path(sys.argv[1])
image = torch.sin(0.37 * torch.arange(3 * 224 * 224, dtype=torch.float64)).float().view(1, 3, 224, 224)
for name, make in MODELS.items():
    torch.manual_seed(1)
    model = make().eval()
    # Heads begin at zero in some libraries, and statistics as if they were none.
    for key, value in model.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif key.endswith("running_mean") or "head" in key:
            value.normal_(std=0.1)
    with torch.no_grad():
        scores = model(image).double().softmax(1)[0]
    torch.save({"model": model.state_dict(), "epoch": 1}, folder / f"{name}.pth")
    (folder / f"{name}.scores.json").write_text(json.dumps(scores.tolist()))
