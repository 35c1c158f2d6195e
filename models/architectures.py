"""The architectures that ship as skeletons: how each is built, from timm's definitions or, for DINOv2 with its linear
head (timm has none), from transformers'; EfficientNet-Lite0 from the definition in this folder."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from torch import nn

from efficientnet_lite import EfficientNetLite0
from torchvision_import import import_torchvision


@dataclass(frozen=True)
class Architecture:
    name: str
    library: str  # timm, transformers, or models: this folder
    model: str  # timm's name of the model, transformers' class, or the file of this folder
    size: int  # px, the side of the images that it is traced on, and the usual one
    # Another side that the same graph takes, of ViTs with other weights; None where it is made for one (Swin's
    # windows).
    other_size: int | None
    options: tuple[tuple[str, Any], ...] = ()  # of transformers' configuration, or arguments of timm's model
    sized_by_weights: bool = False  # the position embedding's length follows the image
    # The side that the position embedding is made for, where the graph interpolates it to the image; else `size`.
    embedded_size: int | None = None
    # What CNN methods explain by default, where it is not by a name that many have (`skeletons.target_layer`).
    target: str | None = None

    @property
    def source(self) -> str:
        if self.library == "models":
            return f"models/{self.model}"
        return f"{self.library} {version(self.library)} {self.model}"

    def build(self, classes: int = 1000, size: int | None = None) -> nn.Module:
        """The eager model in inference mode, with the library's own random weights. `size` in px, where it takes
        one."""
        side = size or self.embedded_size or self.size
        if self.library == "timm":
            import_torchvision()  # timm imports it
            import timm

            options = dict(self.options) | ({"img_size": side} if self.sized_by_weights else {})
            model = timm.create_model(self.model, num_classes=classes, **options)
        elif self.library == "models":
            model = EfficientNetLite0(classes)
        else:
            model = self._from_transformers(classes, side)
        return model.eval().requires_grad_(False)

    def _from_transformers(self, classes: int, side: int) -> nn.Module:
        import_torchvision()  # transformers imports it where it is installed
        import transformers

        transformers.logging.set_verbosity_error()
        kind = getattr(transformers, self.model)
        config = kind.config_class(**dict(self.options), num_labels=classes, image_size=side, patch_size=14)
        return kind._from_config(config, attn_implementation="sdpa")


# timm's models of the same names and shapes that compute something else (padding, epsilons, activation, blurred
# strides): no checkpoint tells them apart. test/skeletons/alike.py compares.
ALIKE: dict[str, tuple[str, ...]] = {
    "resnet50": ("resnetaa50", "resnetblur50"),
    **{f"efficientnet_b{size}": (f"tf_efficientnet_b{size}",) for size in range(5)},
    "tf_efficientnetv2_s": ("efficientnetv2_s",),
    "mobilenetv3_large_100": ("tf_mobilenetv3_large_100",),
    "mobilenetv3_small_100": ("tf_mobilenetv3_small_100",),
    "vit_base_patch16_clip": ("vit_base_patch16_clip_quickgelu_224",),
    "vit_base_patch32_clip": ("vit_base_patch32_clip_quickgelu_224",),
}


def _timm(
    name: str, model: str, size: int, other: int | None, sized: bool = False, target: str | None = None
) -> Architecture:
    return Architecture(name, "timm", model, size, other, sized_by_weights=sized, target=target)


def _cnn(name: str, size: int = 224, other: int = 160, target: str | None = None) -> Architecture:
    return _timm(name, name, size, other, target=target)


def _vit(name: str, size: int = 224, other: int = 96, target: str | None = None) -> Architecture:
    return _timm(name, name if size == 160 else f"{name}_224", size, other, True, target)


def _fixed(name: str, model: str, size: int, target: str | None = None) -> Architecture:
    return _timm(name, model, size, None, target=target)


def _dino(name: str, hidden: int, heads: int, registers: bool) -> Architecture:
    options = (("hidden_size", hidden), ("num_attention_heads", heads), ("num_hidden_layers", 12))
    model = "Dinov2WithRegistersForImageClassification" if registers else "Dinov2ForImageClassification"
    if registers:
        options += (("num_register_tokens", 4),)
    # The published checkpoints hold the positions of 518 px images.
    return Architecture(name, "transformers", model, 224, 112, options, True, 518)


ARCHITECTURES: dict[str, Architecture] = {
    each.name: each
    for each in (
        _cnn("resnet18"),
        _cnn("resnet34"),
        _cnn("resnet50"),
        _cnn("resnet101"),
        _cnn("wide_resnet50_2"),
        _cnn("resnext50_32x4d"),
        _cnn("convnext_tiny"),
        _vit("vit_tiny_patch16"),
        _vit("vit_small_patch16"),
        _vit("vit_base_patch16"),
        _vit("vit_base_patch32"),
        _vit("vit_large_patch16"),
        _vit("deit_tiny_distilled_patch16"),
        _vit("deit_small_distilled_patch16"),
        _vit("deit_base_distilled_patch16"),
        _dino("dinov2_small", 384, 6, False),
        _dino("dinov2_base", 768, 12, False),
        _dino("dinov2_small_registers", 384, 6, True),
        _dino("dinov2_base_registers", 768, 12, True),
        _fixed("swin_tiny_patch4_window7", "swin_tiny_patch4_window7_224", 224),
        _fixed("swin_base_patch4_window7", "swin_base_patch4_window7_224", 224),
        _vit("test_vit", 160, 96),
        _cnn("test_resnet", 160, 96),
        _cnn("test_convnext", 160, 96),
        _cnn("efficientnet_b0", target="bn2"),
        _cnn("efficientnet_b1", 240, target="bn2"),
        _cnn("efficientnet_b2", 256, target="bn2"),
        _cnn("efficientnet_b3", 288, target="bn2"),
        _cnn("efficientnet_b4", 320, target="bn2"),
        _cnn("efficientnetv2_rw_s", 288, target="bn2"),
        _cnn("tf_efficientnetv2_s", 300, 160, target="bn2"),
        # The layer behind their pool is no linear head: the last convolution sees one place.
        _cnn("mobilenetv3_large_100", target="blocks"),
        _cnn("mobilenetv3_small_100", target="blocks"),
        _cnn("densenet121", target="features"),
        _cnn("vgg16", 224, 256, target="features"),
        _cnn("regnety_008", target="s4"),
        _cnn("regnety_040", target="s4"),
        _cnn("convnext_small"),
        _cnn("convnext_base"),
        _cnn("convnext_large"),
        _cnn("convnextv2_tiny"),
        _vit("vit_base_patch8"),
        _vit("vit_base_patch16_clip"),
        _vit("vit_base_patch32_clip"),
        _vit("vit_base_patch16_siglip", target="norm"),
        _vit("vit_base_patch16_siglip_gap"),
        _vit("deit3_small_patch16"),
        _vit("deit3_base_patch16"),
        _fixed("beit_base_patch16", "beit_base_patch16_224", 224),
        _fixed("eva02_base_patch14", "eva02_base_patch14_448", 448),
        _fixed("swin_small_patch4_window7", "swin_small_patch4_window7_224", 224),
        _fixed("swinv2_tiny_window8", "swinv2_tiny_window8_256", 256, target="norm"),
        _fixed("swinv2_tiny_window16", "swinv2_tiny_window16_256", 256, target="norm"),
        _fixed("maxvit_tiny_tf", "maxvit_tiny_tf_224", 224),
        Architecture("efficientnet_lite0", "models", "efficientnet_lite.py", 224, 160),
    )
}
