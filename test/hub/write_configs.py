"""Writes configs/*.json: configurations as timm and transformers themselves save them, and what the library's own
preprocessing makes of a picture, which sightline's reading of the same files is held against.

    python test/hub/write_configs.py

The picture tells where each of its pixels came from: red grows with x, green with y, blue is 100 everywhere.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "models"))
from torchvision_import import import_torchvision

import_torchvision()
import timm
import transformers
from timm.data import create_transform, resolve_data_config
from timm.models._hub import save_config_for_hf

PICTURES = ((500, 374), (333, 500), (503, 375))  # in the last, a crop begins at half a pixel
# Of the result's side: pixels near the corners, where a shift shows most, and the middle.
PLACES = ((0.02, 0.02), (0.98, 0.02), (0.5, 0.5), (0.02, 0.98), (0.98, 0.98))


def picture(width: int, height: int) -> Image.Image:
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([across, down, np.full_like(across, 100)], axis=2).round().astype(np.uint8))


def samples(process) -> list[dict]:
    found = []
    for width, height in PICTURES:
        result = process(picture(width, height))
        _, rows, columns = result.shape
        for right, down in PLACES:
            x, y = int(right * columns), int(down * rows)
            values = [round(float(value), 5) for value in result[:, y, x]]
            found.append({"picture": [width, height], "result": [columns, rows], "x": x, "y": y, "values": values})
    return found


def write(name: str, config: dict, preprocessor: dict | None, process) -> None:
    body = {"config": config, "preprocessor": preprocessor, "samples": samples(process)}
    (HERE / "configs" / f"{name}.json").write_text(json.dumps(body, indent=1) + "\n")
    print(name, flush=True)


def write_timm(
    name: str, model_name: str, *, model_config: dict | None = None, data_config: dict | None = None, **arguments
) -> None:
    with torch.device("meta"):
        model = timm.create_model(model_name, **arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        save_config_for_hf(model, path, model_config=model_config, data_config=data_config)
        config = json.loads(path.read_text())
    steps = resolve_data_config(pretrained_cfg=config["pretrained_cfg"])  # as for a model that is loaded from there
    write(f"timm-{name}", config, None, create_transform(**steps, is_training=False))


def write_transformers(name: str, model_class: str, config, processor) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config.architectures = [model_class]  # as the model's own save_pretrained does
        config.save_pretrained(folder)
        processor.save_pretrained(folder)
        read = lambda file: json.loads((Path(folder) / file).read_text())  # noqa: E731
        written = read("config.json"), read("preprocessor_config.json")
    write(f"transformers-{name}", *written, lambda image: processor(image, return_tensors="pt")["pixel_values"][0])


def main() -> None:
    labels = {"id2label": {0: "rose", 1: "tulip", 2: "daisy"}, "label2id": {"rose": 0, "tulip": 1, "daisy": 2}}
    imagenet = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    t = transformers
    write_transformers(
        "vit",
        "ViTForImageClassification",
        t.ViTConfig(hidden_size=384, num_attention_heads=6, intermediate_size=1536, **labels),
        t.ViTImageProcessor(),
    )
    write_transformers(
        "deit",
        "DeiTForImageClassificationWithTeacher",
        t.DeiTConfig(hidden_size=192, num_attention_heads=3, intermediate_size=768, **labels),
        t.DeiTImageProcessor(**imagenet),
    )
    write_transformers(
        "resnet",
        "ResNetForImageClassification",
        t.ResNetConfig(layer_type="basic", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], **labels),
        t.ConvNextImageProcessor(size={"shortest_edge": 224}, resample=3, **imagenet),
    )
    write_transformers(
        "convnext",
        "ConvNextForImageClassification",
        t.ConvNextConfig(**labels),
        t.ConvNextImageProcessor(size={"shortest_edge": 384}, **imagenet),
    )
    write_transformers(
        "swin",
        "SwinForImageClassification",
        t.SwinConfig(embed_dim=128, depths=[2, 2, 18, 2], num_heads=[4, 8, 16, 32], **labels),
        t.ViTImageProcessor(resample=3, **imagenet),
    )
    write_transformers(
        "dinov2",
        "Dinov2ForImageClassification",
        t.Dinov2Config(hidden_size=384, num_attention_heads=6, patch_size=14, image_size=518, **labels),
        t.BitImageProcessor(size={"shortest_edge": 256}, **imagenet),
    )
    write_transformers(
        "dinov2-registers",
        "Dinov2WithRegistersForImageClassification",
        t.Dinov2WithRegistersConfig(patch_size=14, image_size=518, **labels),
        t.BitImageProcessor(
            size={"shortest_edge": 256},
            do_rescale=True,
            rescale_factor=1 / 127.5,
            image_mean=[1, 1, 1],
            image_std=[0.5, 1, 2],
        ),
    )
    write_timm("resnet50", "resnet50")
    write_timm("resnext", "resnext50_32x4d", num_classes=7)
    write_timm(
        "vit",
        "vit_tiny_patch16_224",
        num_classes=3,
        model_config={
            "label_names": ["n01", "n02", "n03"],
            "label_descriptions": {"n01": "rose", "n02": "tulip", "n03": "daisy"},
        },
    )
    write_timm("vit-384", "vit_small_patch16_384")
    write_timm("vit-resized", "vit_tiny_patch16_224", img_size=160)
    write_timm("deit", "deit_tiny_distilled_patch16_224")
    write_timm(
        "convnext", "convnext_tiny", data_config={"crop_mode": "squash", "crop_pct": 1.0, "interpolation": "bilinear"}
    )
    write_timm("swin", "swin_tiny_patch4_window7_224")
    write_timm("test-vit", "test_vit")
    write_timm("test-resnet", "test_resnet", data_config={"crop_mode": "squash", "crop_pct": 0.9})


if __name__ == "__main__":
    main()
