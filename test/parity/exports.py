"""Every export of the suite: tiny configurations of the libraries' own classes."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torchvision_operators  # noqa: F401  (must come first)
import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.resnet import Bottleneck as TimmBottleneck, ResNet as TimmResNet
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer
from transformers import (
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

CLASSES = 7
DETAIL = re.compile(
    r"(^|\.)(norm2|ln_2|layernorm_after|mlp|ls1|layer_scale1|qkv|proj|q_proj|k_proj|v_proj|o_proj|bn1|bn2|layer1\.0\.\S+|relu\S+)$"
)
WIDE = (24, 40)  # patch 8: a grid of 3 x 5, so that rows and columns cannot be mixed up


@dataclass(frozen=True)
class Kind:
    """One architecture: how it is built and where its parts lie."""

    source: str
    build: Callable[[], nn.Module]
    size: tuple[int, int]
    keep: str  # module paths whose outputs are kept (full match)
    graded: tuple[str, ...]  # module paths whose gradients are kept
    last: str  # Grad-CAM's layer: last spatial feature, or the last block's norm1
    form: str  # 'cnn': [C, h, w] features; 'tokens': class and patch tokens; 'windows': Swin, [h, w, C]
    grid: tuple[int, int]
    head: str | None = None  # the linear head after a mean over space, where there is one
    prefix: int = 0
    class_token: bool = False


@dataclass(frozen=True)
class Export:
    kind: str
    how: str  # 'trace', 'trace-no-grad', 'script'
    frozen: bool = False
    fused: bool | None = None  # None: as the library does by itself
    brief: bool = False  # fewer features: another export of the same kind has them all
    debug: bool = False  # keep the archive's source ranges
    note: str = ""


def torchvision_resnet(block, planes=(4, 6, 8, 12), dilated=True) -> nn.Module:
    # torchvision fixes the planes at 64..512. The children are replaced by narrow ones of its own _make_layer;
    # class and forward stay torchvision's.
    model = ResNet(block, [1, 1, 1, 1], num_classes=CLASSES)
    model.inplanes = planes[0] * 2
    model.conv1 = nn.Conv2d(3, model.inplanes, 7, stride=2, padding=3, bias=False)
    model.bn1 = nn.BatchNorm2d(model.inplanes)
    model.dilation = 1
    for index, width in enumerate(planes):
        stride = 1 if index == 0 else 2
        layer = model._make_layer(block, width, 2 if index == 3 else 1, stride, dilate=dilated and index >= 2)
        setattr(model, f"layer{index + 1}", layer)
    model.fc = nn.Linear(planes[-1] * block.expansion, CLASSES)
    return model


TIMM_VIT = dict(img_size=WIDE, patch_size=8, num_classes=CLASSES, embed_dim=24, num_heads=3, mlp_ratio=2.0)
TRANSFORMERS_VIT = dict(
    hidden_size=24, num_attention_heads=3, intermediate_size=48, mlp_ratio=2, patch_size=8, num_labels=CLASSES
)

RESNET_KEEP = (
    r"bn1|layer1\.0\.(bn1|relu#\d|downsample)|layer\d(\.\d)?|layer4\.\d\.(bn\d|relu#\d)|avgpool|global_pool|fc"
)
TIMM_VIT_KEEP = (
    r"patch_embed|norm_pre|blocks\.\d+|blocks\.\d+\.(norm1|attn|norm2|mlp|ls1)|blocks\.0\.attn\.(qkv|proj)"
    r"|norm|fc_norm|head(_dist)?"
)
TORCHVISION_VIT_KEEP = (
    r"conv_proj|encoder|encoder\.layers\.encoder_layer_\d(\.(ln_1|self_attention|ln_2|mlp))?|encoder\.ln"
    r"|heads(\.head)?"
)


def transformers_kind(source, cls, config, path, names, grid, **kwargs) -> Kind:
    block, norm1, image = kwargs.pop("block"), kwargs.pop("norm1"), kwargs.pop("size")

    def build():
        return cls._from_config(config(**TRANSFORMERS_VIT, **kwargs), attn_implementation="sdpa")

    keep = (
        rf"{path}(\.embeddings(\.patch_embeddings(\.projection)?)?)?|{re.escape(block)}\.\d(\.(attention|{norm1}|{names}|mlp"
        rf"|attention\.[qkvo]_proj))?|{path}\.layernorm|(cls_|distillation_)?classifier"
    )
    depth = kwargs["num_hidden_layers"]
    prefix = {"DeiTConfig": 2, "Dinov2WithRegistersConfig": 1 + kwargs.get("num_register_tokens", 0)}.get(
        config.__name__, 1
    )
    return Kind(
        source,
        build,
        image,
        keep,
        (f"{block}.0", f"{block}.{depth - 1}.{norm1}", f"{path}.layernorm"),
        f"{block}.{depth - 1}.{norm1}",
        "tokens",
        grid,
        prefix=prefix,
        class_token=True,
    )


KINDS: dict[str, Kind] = {
    "torchvision-resnet": Kind(
        "torchvision.models.resnet.ResNet(Bottleneck, [1, 1, 1, 2]), narrow, layer3 and layer4 dilated",
        lambda: torchvision_resnet(Bottleneck),
        (32, 48),
        RESNET_KEEP,
        ("layer2", "layer3", "layer4.0", "layer4", "avgpool"),
        "layer4",
        "cnn",
        (4, 6),
        head="fc",
    ),
    "torchvision-resnet-basic": Kind(
        "torchvision.models.resnet.ResNet(BasicBlock, [1, 1, 1, 2]), narrow",
        lambda: torchvision_resnet(BasicBlock, (8, 8, 12, 16), dilated=False),
        (48, 80),
        RESNET_KEEP.replace("bn1|", "", 1).replace("layer1\\.0\\.(bn1|relu#\\d|downsample)|", ""),
        ("layer3", "layer4"),
        "layer4",
        "cnn",
        (2, 3),
        head="fc",
    ),
    "timm-resnet": Kind(
        "timm.models.resnet.ResNet(Bottleneck, (1, 1, 1, 2)), output_stride 8",
        lambda: TimmResNet(
            TimmBottleneck,
            (1, 1, 1, 2),
            num_classes=CLASSES,
            stem_width=8,
            channels=(4, 6, 8, 12),
            output_stride=8,
            zero_init_last=False,
        ),
        (32, 48),
        RESNET_KEEP.replace("relu", "act\\d?")
        .replace("bn1|layer1", "layer1")
        .replace("layer1\\.0\\.(bn1|act\\d?#\\d|downsample)|", ""),
        ("layer2", "layer3", "layer4.0", "layer4", "global_pool"),
        "layer4",
        "cnn",
        (4, 6),
        head="fc",
    ),
    "transformers-resnet": Kind(
        "transformers.ResNetForImageClassification, depths [1, 1, 1, 2]",
        lambda: ResNetForImageClassification._from_config(
            ResNetConfig(embedding_size=8, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 2], num_labels=CLASSES)
        ),
        (48, 80),
        r"resnet\.encoder\.stages\.[123]|resnet\.encoder\.stages\.3\.layers\.\d|resnet\.encoder|resnet\.pooler|classifier|classifier\.1",
        ("resnet.encoder.stages.2", "resnet.encoder.stages.3"),
        "resnet.encoder.stages.3",
        "cnn",
        (2, 3),
        head="classifier.1",
    ),
    # An even number of heads: with an odd one nn.MultiheadAttention never takes its fused path.
    "torchvision-vit": Kind(
        "torchvision.models.vision_transformer.VisionTransformer, 2 layers",
        lambda: VisionTransformer(
            image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=24, mlp_dim=48, num_classes=CLASSES
        ),
        (32, 32),
        TORCHVISION_VIT_KEEP,
        ("encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1.ln_1", "encoder.ln"),
        "encoder.layers.encoder_layer_1.ln_1",
        "tokens",
        (4, 4),
        prefix=1,
        class_token=True,
    ),
    "timm-vit": Kind(
        "timm.models.vision_transformer.VisionTransformer, depth 2",
        lambda: TimmViT(depth=2, **TIMM_VIT),
        WIDE,
        TIMM_VIT_KEEP,
        ("blocks.0", "blocks.1.attn", "blocks.1.norm1", "norm"),
        "blocks.1.norm1",
        "tokens",
        (3, 5),
        prefix=1,
        class_token=True,
    ),
    "timm-vit-qk-norm": Kind(
        "timm.models.vision_transformer.VisionTransformer, depth 2, qk_norm, pre_norm",
        lambda: TimmViT(depth=2, qk_norm=True, pre_norm=True, **TIMM_VIT),
        WIDE,
        TIMM_VIT_KEEP + r"|blocks\.\d\.attn\.[qk]_norm",
        ("blocks.0", "blocks.1.norm1"),
        "blocks.1.norm1",
        "tokens",
        (3, 5),
        prefix=1,
        class_token=True,
    ),
    "timm-deit-distilled": Kind(
        "timm.models.deit.VisionTransformerDistilled, depth 2",
        lambda: VisionTransformerDistilled(depth=2, **TIMM_VIT),
        WIDE,
        TIMM_VIT_KEEP,
        ("blocks.0", "blocks.1.norm1", "norm"),
        "blocks.1.norm1",
        "tokens",
        (3, 5),
        prefix=2,
        class_token=True,
    ),
    "timm-dinov2-registers": Kind(
        "timm.models.vision_transformer.VisionTransformer, depth 3, 4 registers, layer scale (vit_*_reg4_dinov2)",
        lambda: TimmViT(depth=3, reg_tokens=4, no_embed_class=True, init_values=1e-5, **TIMM_VIT),
        WIDE,
        TIMM_VIT_KEEP,
        ("blocks.0", "blocks.2.norm1", "norm"),
        "blocks.2.norm1",
        "tokens",
        (3, 5),
        prefix=5,
        class_token=True,
    ),
    "timm-vit-average": Kind(
        "timm.models.vision_transformer.VisionTransformer, depth 2, global_pool='avg', no class token",
        lambda: TimmViT(depth=2, global_pool="avg", class_token=False, **TIMM_VIT),
        WIDE,
        TIMM_VIT_KEEP,
        ("blocks.0", "blocks.1.norm1", "blocks.1"),
        "blocks.1.norm1",
        "tokens",
        (3, 5),
    ),
    "timm-swin": Kind(
        "timm.models.swin_transformer.SwinTransformer, depths (2, 2), window 3",
        lambda: TimmSwin(
            img_size=WIDE,
            patch_size=4,
            num_classes=CLASSES,
            embed_dim=16,
            depths=(2, 2),
            num_heads=(2, 4),
            window_size=3,
            mlp_ratio=2.0,
        ),
        WIDE,
        r"patch_embed|layers\.\d(\.(downsample|blocks\.\d(\.(norm1|attn))?))?|norm|head",
        ("layers.0", "layers.1.blocks.1.norm1", "norm"),
        "norm",
        "windows",
        (3, 5),
        head="head.fc",
    ),
    "torchvision-swin": Kind(
        "torchvision.models.swin_transformer.SwinTransformer, depths [2, 2], window [3, 3]",
        lambda: SwinTransformer(
            patch_size=[4, 4],
            embed_dim=16,
            depths=[2, 2],
            num_heads=[2, 4],
            window_size=[3, 3],
            mlp_ratio=2.0,
            stochastic_depth_prob=0.0,
            num_classes=CLASSES,
        ),
        WIDE,
        r"features\.\d(\.\d(\.(norm1|attn))?)?|norm|head",
        ("features.1", "features.3.1.norm1", "norm"),
        "norm",
        "windows",
        (3, 5),
        head="head",
    ),
    "transformers-vit": transformers_kind(
        "transformers.ViTForImageClassification, 2 layers",
        ViTForImageClassification,
        ViTConfig,
        "vit",
        "layernorm_after",
        (3, 5),
        block="vit.layers",
        norm1="layernorm_before",
        size=WIDE,
        image_size=WIDE,
        num_hidden_layers=2,
    ),
    "transformers-deit": transformers_kind(
        "transformers.DeiTForImageClassificationWithTeacher, 2 layers",
        DeiTForImageClassificationWithTeacher,
        DeiTConfig,
        "deit",
        "layernorm_after",
        (3, 5),
        block="deit.layers",
        norm1="layernorm_before",
        size=WIDE,
        image_size=WIDE,
        num_hidden_layers=2,
    ),
    "transformers-dinov2": transformers_kind(
        "transformers.Dinov2ForImageClassification, 2 layers, made for 32 x 32, run at 32 x 40",
        Dinov2ForImageClassification,
        Dinov2Config,
        "dinov2",
        "norm2|layer_scale1",
        (4, 5),
        block="dinov2.encoder.layer",
        norm1="norm1",
        size=(32, 40),
        image_size=32,
        num_hidden_layers=2,
    ),
    "transformers-dinov2-registers": transformers_kind(
        "transformers.Dinov2WithRegistersForImageClassification, 2 layers, 4 registers",
        Dinov2WithRegistersForImageClassification,
        Dinov2WithRegistersConfig,
        "dinov2_with_registers",
        "norm2",
        (4, 4),
        block="dinov2_with_registers.encoder.layer",
        norm1="norm1",
        size=(32, 32),
        image_size=32,
        num_hidden_layers=2,
        num_register_tokens=4,
    ),
}

EXPORTS: dict[str, Export] = {
    "torchvision-resnet-traced": Export("torchvision-resnet", "trace"),
    "torchvision-resnet-traced-no-grad": Export("torchvision-resnet", "trace-no-grad", brief=True),
    "torchvision-resnet-scripted": Export("torchvision-resnet", "script", brief=True),
    "torchvision-resnet-frozen": Export("torchvision-resnet", "trace", frozen=True, brief=True),
    "torchvision-resnet-basic-scripted": Export("torchvision-resnet-basic", "script"),
    "timm-resnet-traced": Export("timm-resnet", "trace"),
    "timm-resnet-scripted": Export("timm-resnet", "script", brief=True),
    "transformers-resnet-traced": Export("transformers-resnet", "trace"),
    "torchvision-vit-traced": Export(
        "torchvision-vit", "trace", note="traced with gradients on: attention is scaled_dot_product_attention"
    ),
    "torchvision-vit-traced-no-grad": Export(
        "torchvision-vit",
        "trace-no-grad",
        brief=True,
        debug=True,
        note="traced under no_grad: attention is _native_multi_head_attention",
    ),
    "torchvision-vit-scripted": Export("torchvision-vit", "script", brief=True),
    "timm-vit-fused-traced": Export("timm-vit", "trace"),
    "timm-vit-unfused-traced": Export("timm-vit", "trace", fused=False, brief=True),
    "timm-vit-fused-scripted": Export("timm-vit", "script", brief=True),
    "timm-vit-unfused-scripted": Export("timm-vit", "script", fused=False, brief=True),
    "timm-vit-fused-frozen": Export("timm-vit", "trace", frozen=True, brief=True),
    "timm-vit-qk-norm-traced": Export("timm-vit-qk-norm", "trace"),
    "timm-deit-distilled-traced": Export("timm-deit-distilled", "trace"),
    "timm-dinov2-registers-traced": Export("timm-dinov2-registers", "trace"),
    "timm-vit-average-traced": Export("timm-vit-average", "trace"),
    "timm-swin-traced": Export("timm-swin", "trace"),
    "timm-swin-scripted": Export("timm-swin", "script", brief=True),
    "timm-swin-fused-traced": Export(
        "timm-swin",
        "trace",
        fused=True,
        brief=True,
        note="as with TIMM_FUSED_ATTN=2: scaled_dot_product_attention with bias and mask as attn_mask",
    ),
    "torchvision-swin-traced": Export("torchvision-swin", "trace"),
    "torchvision-swin-scripted": Export("torchvision-swin", "script", brief=True),
    "transformers-vit-sdpa-traced": Export("transformers-vit", "trace", note="returns a dict"),
    "transformers-vit-eager-traced": Export(
        "transformers-vit",
        "trace",
        fused=False,
        brief=True,
        note="forward called with return_dict=False: returns a tuple",
    ),
    "transformers-deit-traced": Export(
        "transformers-deit", "trace", note="returns a dict of three logits; logits is their mean of two"
    ),
    "transformers-dinov2-traced": Export("transformers-dinov2", "trace"),
    "transformers-dinov2-registers-traced": Export("transformers-dinov2-registers", "trace"),
}


def set_fused(model: nn.Module, fused: bool | None) -> None:
    """Chooses between fused and written-out attention, as each library's users do."""
    for module in model.modules():
        if hasattr(module, "fused_attn") and fused is not None:
            module.fused_attn = fused
    if hasattr(model, "config") and fused is False:
        model.set_attn_implementation("eager")
        model.forward = partial(model.forward, return_dict=False)


def to_torchscript(model: nn.Module, export: Export, images: torch.Tensor) -> torch.jit.ScriptModule:
    """`images` [1, 3, H, W]."""
    # As a user has it: with parameters that ask for no gradient torchvision's attention would trace fused even here.
    model.requires_grad_(True)
    if export.how == "script":
        archive = torch.jit.script(model)
    else:
        with torch.set_grad_enabled(export.how == "trace"):
            archive = torch.jit.trace(model, images, strict=False, check_trace=False)
    return torch.jit.freeze(archive.eval()) if export.frozen else archive
