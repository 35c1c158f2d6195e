"""Writes recipro-MODEL.safetensors: maps of Recipro-CAM and ViT-Recipro-CAM, by the peer's own code and by their
definition.

Usage: python test/parity/methods/recipro.py [MODEL...]
needs: pip install openvino_xai==1.1.0 "openvino<2025"

The layers, images and classes are those of score-MODEL.safetensors. Tensors, raw at the grid: `METHOD` and
`METHOD.SETTING` by the definition, `METHOD.openvino` by openvino_xai's class for PyTorch. That of ViTs takes square
grids and one class token, so it is asked about one model alone.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent))

import score_subjects as subjects
import torch
from openvino_xai.methods.white_box.torch import TorchReciproCAM, TorchViTReciproCAM
from reference_file import save_reference
from safetensors.torch import load_file
from score_subjects import Subject
from torch import Tensor

HERE = Path(__file__).parent
SUBJECTS: dict[str, Callable[[], Subject]] = {
    "resnet-tiny-shapes": lambda: subjects.shipped("resnet-tiny-shapes", [2]),
    "vit-tiny-shapes": lambda: subjects.shipped("vit-tiny-shapes", [2, 5]),
    "torchvision-resnet-traced": lambda: subjects.small("torchvision-resnet-traced"),
    "torchvision-resnet-basic-scripted": lambda: subjects.small("torchvision-resnet-basic-scripted", 2, "layer3"),
    "timm-swin-traced": lambda: subjects.small("timm-swin-traced"),
    "timm-vit-fused-traced": lambda: subjects.small("timm-vit-fused-traced"),
    "timm-deit-distilled-traced": lambda: subjects.small("timm-deit-distilled-traced"),
    "timm-dinov2-registers-traced": lambda: subjects.small("timm-dinov2-registers-traced"),
    "timm-vit-average-traced": lambda: subjects.small("timm-vit-average-traced"),
}


def kernel_around(row: int, column: int, height: int, width: int, is_gaussian: bool) -> Tensor:
    """What is kept of each place, [height, width]."""
    if not is_gaussian:
        kept = torch.zeros(height, width)
        kept[row, column] = 1
        return kept
    padded = torch.zeros(height + 2, width + 2)
    padded[row : row + 3, column : column + 3] = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    return padded[1:-1, 1:-1]


def by_definition(subject: Subject, image: Tensor, target: int, is_gaussian: bool, keeps_others: bool = True) -> Tensor:
    with torch.no_grad():
        feature = subject.features(image[None])
        height, width = subject.reshape(feature).shape[2:]
        scores = torch.empty(height, width)
        for row in range(height):
            for column in range(width):
                kept = kernel_around(row, column, height, width, is_gaussian)
                if subject.form == "cnn":
                    masked = feature * kept
                elif subject.form == "windows":
                    masked = feature * kept[..., None]
                else:
                    prefix = feature.shape[1] - height * width
                    of_tokens = torch.cat([torch.full((prefix,), float(keeps_others)), kept.flatten()])
                    masked = feature * of_tokens[:, None]
                scores[row, column] = subject.resumed(image, masked)[0, target]
    return scores


def by_peer(subject: Subject, image: Tensor, target: int, **options) -> Tensor:
    """It takes the last module in whose name the layer's occurs, so that here the layer is found for it."""
    peer_class = TorchViTReciproCAM if subject.form == "tokens" else TorchReciproCAM
    with patch.object(peer_class, "_find_feature_module_by_name", lambda _self, model, name: model.get_submodule(name)):
        peer = peer_class(subject.model, target_layer=subject.layer, embed_scaling=False, **options)
    return torch.from_numpy(peer.generate_saliency_map(image[None].numpy())[0, target])


def maps(subject: Subject) -> dict[str, Tensor]:
    found: dict[str, list[Tensor]] = {}
    for image, target in zip(subject.images, subject.targets, strict=True):
        case = (subject, image, target)
        if subject.form == "tokens":
            made = {
                "vit-recipro-cam": by_definition(*case, True),
                "vit-recipro-cam.single": by_definition(*case, False),
                "vit-recipro-cam.patches": by_definition(*case, True, keeps_others=False),
            }
            if subject.name == "vit-tiny-shapes":
                made["vit-recipro-cam.openvino"] = by_peer(*case)
                made["vit-recipro-cam.single.openvino"] = by_peer(*case, use_gaussian=False)
                made["vit-recipro-cam.patches.openvino"] = by_peer(*case, use_cls_token=False)
        else:
            made = {"recipro-cam": by_definition(*case, False), "recipro-cam.gaussian": by_definition(*case, True)}
            if subject.form == "cnn":
                made["recipro-cam.openvino"] = by_peer(*case)
        for name, value in made.items():
            found.setdefault(name, []).append(value)
    return {name: torch.stack(values).contiguous() for name, values in found.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or SUBJECTS:
        subject = SUBJECTS[name]()
        chosen = load_file(HERE / f"score-{name}.safetensors")["targets"].tolist()
        subject = replace(subject, targets=[int(target) for target in chosen])
        tensors = maps(subject)
        print(name, subject.layer, sorted(tensors), flush=True)
        save_reference(
            tensors,
            HERE / f"recipro-{name}.safetensors",
            {"layer": subject.layer, "source": "openvino_xai 1.1.0"},
        )
