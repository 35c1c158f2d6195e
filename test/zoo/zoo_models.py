"""The models of the zoo: the libraries' own classes, as small as their options allow, without trained weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

CLASSES = 10


@dataclass(frozen=True)
class Entry:
    name: str
    make: Callable[..., nn.Module]  # forms[i] is handed to it
    size: tuple[int, int]  # height, width of an image
    forms: tuple[
        str, ...
    ]  # 'traced', 'scripted'; of Hugging Face 'traced', 'traced-eager' (attention without the fused operator)


ENTRIES: dict[str, Entry] = {}

# Random weights make these networks chaotic: PyTorch's float32 is then as far from its float64 as from anything else.
QUIETER = {"timm/caformer_s18": 0.6}


def add(library: str, name: str, make, size, forms, label: str | None = None):
    size = (size, size) if isinstance(size, int) else size
    full = f"{library}/{label or name}"
    assert full not in ENTRIES, full
    ENTRIES[full] = Entry(full, make, size, forms)


# -- timm -------------------------------------------------------------------------------------------------------------


def make_timm(name, options, form):
    import timm

    return timm.create_model(
        name, pretrained=False, num_classes=CLASSES, scriptable=form == "scripted", exportable=True, **options
    )


def timm(size, names: str, label: str | None = None, **options):
    """`img_size` is handed over where the options hold it as None."""
    for name in names.split():
        pair = (size, size) if isinstance(size, int) else size
        given = {key: pair if key == "img_size" and value is None else value for key, value in options.items()}
        add(
            "timm",
            name,
            partial(make_timm, name, given),
            pair,
            ("traced", "scripted"),
            f"{name}{label}" if label else None,
        )


WIDE = (64, 96)
timm(
    WIDE,
    """resnet18 resnet10t resnet26d seresnet33ts ecaresnet26t resnext26ts skresnet18 resnest14d res2net50_26w_4s \
resnet50_clip_gap
    resnetv2_18 resnetv2_50x1_bit resnetv2_50d_gn regnetx_002 regnety_002 regnetz_005 densenet121 dla34 dpn68 \
hrnet_w18_small
    gernet_s mobileone_s0 repvgg_a0 legacy_seresnet18 selecsls42 tresnet_m vovnet39a ese_vovnet19b_dw rexnet_100 \
nf_regnet_b0 nfnet_l0
    mnasnet_small mobilenetv2_050 mobilenetv3_small_050 mobilenetv3_large_075 mobilenetv4_conv_small_050 \
mobilenetv1_100 lcnet_050 fbnetv3_b tinynet_e
    efficientnet_b0 efficientnet_lite0 efficientnetv2_rw_t tf_efficientnetv2_b0 tf_efficientnet_b0 mixnet_s \
ghostnet_050 ghostnetv2_100 ghostnetv3_050
    repghostnet_050 hardcorenas_a cspresnet50 cs3darknet_s darknet17 hgnetv2_b0
    convnext_atto convnextv2_atto convnext_zepto_rms inception_next_atto convmixer_768_32 xception41 rdnet_tiny \
mambaout_femto starnet_s050 fasternet_t0
    poolformer_s12 poolformerv2_s12 convformer_s18 caformer_s18 edgenext_xx_small mobilevit_xxs mobilevitv2_050 \
fastvit_t8 fastvit_sa12
    repvit_m0_9 efficientvit_b0 swiftformer_xs focalnet_tiny_srf lambda_resnet26t gcresnext26ts""",
)
timm((128, 192), "csatv2")
timm(96, "inception_v3 inception_v4 legacy_xception")
timm(256, "halonet26t botnet26t_256")
timm(96, "vgg11 vgg11_bn")
timm((128, 64), "pvt_v2_b0 davit_tiny twins_pcpvt_small twins_svt_small shvit_s1 nextvit_small")
timm(128, "efficientvit_m0 mobilenetv4_hybrid_medium iformer_t")

VIT = dict(img_size=None, depth=3, embed_dim=48, num_heads=3)
timm(
    (48, 80),
    "vit_tiny_patch16_224 vit_base_patch16_gap_224 deit3_small_patch16_224 vit_small_patch16_18x2_224 "
    "vit_base_patch16_siglip_224 vit_base_patch16_clip_224",
    **VIT,
)
timm(
    (48, 80),
    "deit_tiny_distilled_patch16_224 vit_relpos_small_patch16_224 vit_relpos_base_patch16_cls_224 "
    "vit_srelpos_small_patch16_224",
    **VIT,
)
timm((42, 70), "vit_small_patch14_dinov2 vit_small_patch14_reg4_dinov2", **VIT)
timm(
    (64, 96),
    "vit_small_patch32_224 flexivit_small vit_base_patch16_rpn_224 vit_base_patch16_xp_224",
    **{**VIT, "img_size": None},
)
timm(
    (48, 80),
    "vit_medium_patch16_reg4_gap_256 vit_medium_patch16_reg1_gap_256 vit_dpwee_patch16_reg1_gap_256 "
    "vit_pwee_patch16_reg1_gap_256",
    **VIT,
)
timm((48, 80), "beit_base_patch16_224 beitv2_base_patch16_224", **VIT)
timm(
    (48, 80),
    "vit_small_patch16_dinov3 vit_small_plus_patch16_dinov3 vit_small_patch16_rope_224 "
    "vit_small_patch16_rope_mixed_224",
    img_size=None,
    depth=3,
    embed_dim=48,
    num_heads=3,
)
timm((56, 84), "eva02_tiny_patch14_224 eva_large_patch14_196", img_size=None, depth=3, embed_dim=48, num_heads=3)
timm((42, 70), "aimv2_large_patch14_224", **VIT)
timm(
    (48, 80),
    "naflexvit_base_patch16_gap naflexvit_base_patch16_map naflexvit_base_patch16_siglip",
    depth=3,
    embed_dim=48,
    num_heads=3,
)
timm(64, "vit_tiny_r_s16_p8_224", img_size=None, depth=3, embed_dim=48, num_heads=3)
timm(
    64,
    "samvit_base_patch16_224",
    img_size=None,
    depth=4,
    embed_dim=48,
    num_heads=3,
    window_size=2,
    global_attn_indexes=(1, 3),
)
timm(64, "cait_xxs24_224", img_size=None, depth=3)
timm((64, 96), "xcit_nano_12_p16_224", img_size=None, depth=3)
timm(64, "xcit_nano_12_p8_224", img_size=None, depth=2)
timm(240, "crossvit_tiny_240 crossvit_9_dagger_240")
timm(64, "volo_d1_224", img_size=None)
timm(64, "swin_tiny_patch4_window7_224", img_size=None, depths=(2, 2), embed_dim=24, num_heads=(2, 4), window_size=4)
timm((64, 96), "swin_s3_tiny_224", img_size=None, depths=(2, 2, 2, 2), window_size=(4, 4, 4, 2))
timm(64, "swinv2_tiny_window8_256", img_size=None, depths=(2, 2), embed_dim=24, num_heads=(2, 4), window_size=4)
timm(
    64,
    "swinv2_cr_tiny_224 swinv2_cr_tiny_ns_224",
    img_size=None,
    depths=(2, 2, 2, 2),
    embed_dim=24,
    num_heads=(2, 4, 4, 8),
    window_size=2,
)
timm(128, "hiera_tiny_224", img_size=None, stages=(1, 1, 2, 1), embed_dim=24)
timm(128, "hiera_small_abswin_256", img_size=None, stages=(1, 1, 2, 1), embed_dim=24)
timm(128, "hieradet_small sam2_hiera_tiny", stages=(1, 1, 2, 1), global_att_blocks=(3,), embed_dim=24)
timm(64, "nest_tiny nest_tiny_jx", img_size=None)
timm(224, "levit_128s levit_conv_128s")
timm(
    64,
    "maxvit_pico_rw_256 maxvit_rmlp_pico_rw_256 coatnet_pico_rw_224 coatnet_nano_cc_224 maxxvit_rmlp_nano_rw_256",
    img_size=None,
)
timm(64, "coatnet_rmlp_nano_rw_224", img_size=None)
timm(64, "mvitv2_tiny mvitv2_small_cls", img_size=None)
timm(64, "pit_ti_224 pit_ti_distilled_224", img_size=None)
timm(64, "mixer_s16_224 gmlp_ti16_224 resmlp_12_224 gmixer_12_224", img_size=None)
timm(224, "efficientformer_l1 efficientformerv2_s0")
timm(224, "tiny_vit_5m_224")
timm(64, "coat_tiny coat_lite_tiny", img_size=None)
timm(64, "convit_tiny", img_size=None, depth=3, local_up_to_layer=2, embed_dim=12)
timm(64, "tnt_s_patch16_224 tnt_s_legacy_patch16_224", img_size=None, depth=3)
timm((64, 96), "sequencer2d_s", layers=(1, 1, 1, 1))
timm(64, "visformer_tiny", img_size=None)
timm(64, "vitamin_small_224", img_size=None)
timm(224, "gcvit_xxtiny")
timm((64, 96), "efficientvim_m1 cpubone_nano lowformer_b0")


# -- torchvision ------------------------------------------------------------------------------------------------------


def make_torchvision(name, options, form):
    from torchvision.models import get_model

    return get_model(name, weights=None, num_classes=CLASSES, **options)


def torchvision(size, names: str, **options):
    for name in names.split():
        add("torchvision", name, partial(make_torchvision, name, options), size, ("traced", "scripted"))


torchvision(
    WIDE,
    """resnet18 resnext50_32x4d wide_resnet50_2 regnet_x_400mf regnet_y_400mf densenet121 mnasnet0_5 mobilenet_v2 \
mobilenet_v3_small
    efficientnet_b0 efficientnet_v2_s convnext_tiny shufflenet_v2_x0_5 squeezenet1_0 squeezenet1_1 vgg11 vgg11_bn""",
)
torchvision((96, 64), "swin_t swin_v2_t")
torchvision(96, "alexnet")
torchvision(96, "googlenet inception_v3", init_weights=False)
torchvision(224, "maxvit_t")


def make_torchvision_vit(form):
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        image_size=64, patch_size=16, num_layers=3, num_heads=3, hidden_dim=48, mlp_dim=96, num_classes=CLASSES
    )


add("torchvision", "vit", make_torchvision_vit, 64, ("traced", "scripted"))


# -- Hugging Face -----------------------------------------------------------------------------------------------------


def make_transformers(name, options, form):
    import transformers

    config = getattr(transformers, f"{name}Config")(num_labels=CLASSES, **options)
    config.output_attentions = config.output_hidden_states = False
    config._attn_implementation = "eager" if form == "traced-eager" else "sdpa"
    suffix = "ForImageClassification"
    model_class = getattr(transformers, f"{name}{suffix}")
    try:
        return model_class(config)
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        config._attn_implementation = "eager"
        return model_class(config)


def transformers(size, name, attention=False, label=None, **options):
    add(
        "transformers",
        name,
        partial(make_transformers, name, options),
        size,
        ("traced", "traced-eager") if attention else ("traced",),
        label,
    )


TOKENS = dict(hidden_size=48, num_attention_heads=3, intermediate_size=96, num_hidden_layers=3, patch_size=16)
transformers((48, 80), "ViT", True, **TOKENS, image_size=(48, 80))
transformers((48, 80), "ViTMSN", True, **TOKENS, image_size=(48, 80))
transformers((48, 80), "DeiT", True, **TOKENS, image_size=(48, 80))
transformers(64, "Beit", True, **TOKENS, image_size=64)
transformers(
    64, "Beit", True, "Beit-relative", **TOKENS, image_size=64, use_relative_position_bias=True, use_mean_pooling=False
)
transformers(64, "Data2VecVision", True, **TOKENS, image_size=64)
DINO = dict(hidden_size=48, num_attention_heads=3, mlp_ratio=2, num_hidden_layers=3, patch_size=14, image_size=56)
transformers((56, 84), "Dinov2", True, **DINO)
transformers((56, 84), "Dinov2WithRegisters", True, **DINO)
transformers(64, "IJepa", True, **TOKENS, image_size=64)
transformers((64, 96), "Swin", True, image_size=(64, 96), embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=4)
transformers(
    (64, 96), "Swinv2", True, image_size=(64, 96), embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=4
)
transformers(64, "DonutSwin", True, image_size=(64, 64), embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=4)
transformers((64, 96), "ConvNext", hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 2, 1])
transformers((64, 96), "ConvNextV2", hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 2, 1])
transformers((64, 96), "ResNet", embedding_size=16, hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 2, 1])
transformers((64, 96), "RegNet", embedding_size=16, hidden_sizes=[16, 24, 32, 48], depths=[1, 1, 2, 1], groups_width=8)
transformers((64, 96), "Bit", embedding_size=32, hidden_sizes=[128, 256, 256, 512], depths=[1, 1, 2, 1])
transformers((64, 96), "MobileNetV1", depth_multiplier=0.25)
transformers((64, 96), "MobileNetV2", depth_multiplier=0.35)
transformers((64, 96), "EfficientNet", width_coefficient=0.5, depth_coefficient=0.5, hidden_dim=640)
transformers(
    (64, 96),
    "MobileViT",
    True,
    image_size=(64, 96),
    hidden_sizes=[24, 32, 48],
    neck_hidden_sizes=[8, 16, 24, 32, 40, 48, 64],
)
transformers((64, 96), "MobileViTV2")
transformers(
    (64, 96),
    "FocalNet",
    embed_dim=24,
    depths=[1, 1, 2, 1],
    focal_levels=[2, 2, 2, 2],
    focal_windows=[3, 3, 3, 3],
    image_size=(64, 96),
)
transformers(
    64,
    "Levit",
    True,
    image_size=64,
    hidden_sizes=[32, 48, 64],
    num_attention_heads=[2, 3, 4],
    depths=[1, 1, 1],
    key_dim=[8, 8, 8],
)
transformers(64, "Pvt", True, image_size=64, hidden_sizes=[16, 32, 40, 64], depths=[1, 1, 1, 1])
transformers((64, 96), "PvtV2", True, hidden_sizes=[16, 32, 40, 64], depths=[1, 1, 1, 1])
transformers(
    (64, 96), "PvtV2", True, "PvtV2-linear", hidden_sizes=[16, 32, 40, 64], depths=[1, 1, 1, 1], linear_attention=True
)
transformers((64, 96), "Segformer", True, hidden_sizes=[16, 32, 40, 64], depths=[1, 1, 1, 1])
transformers((64, 96), "PoolFormer", hidden_sizes=[16, 32, 40, 64], depths=[1, 1, 1, 1])
transformers((64, 96), "Cvt", embed_dim=[16, 48, 96], depth=[1, 2, 4], num_heads=[1, 3, 6])
transformers(64, "Hiera", True, image_size=[64, 64], embed_dim=24, depths=[1, 1, 2, 1])
transformers((64, 96), "SwiftFormer", embed_dims=[24, 32, 48, 64], depths=[1, 1, 2, 1])
transformers((64, 96), "TextNet")
transformers((64, 96), "HGNetV2")
transformers(64, "PPLCNet")
transformers(
    64,
    "Siglip",
    True,
    vision_config=dict(
        hidden_size=48, num_attention_heads=3, intermediate_size=96, num_hidden_layers=3, patch_size=16, image_size=64
    ),
)
transformers(
    64,
    "CLIP",
    True,
    vision_config=dict(
        hidden_size=48, num_attention_heads=3, intermediate_size=96, num_hidden_layers=3, patch_size=16, image_size=64
    ),
)
transformers(
    64,
    "MetaClip2",
    True,
    vision_config=dict(
        hidden_size=48, num_attention_heads=3, intermediate_size=96, num_hidden_layers=3, patch_size=16, image_size=64
    ),
)
