"""The attention family by vit-explain, Chefer's two repositories, attention_flow, norm-analysis, ValueZeroing and
torch-cam."""

import attention as family
import torch
from attention_peers import Peers
from attention_subjects import Subject, look
from found import Found
from subjects import Case
from torch import Tensor, nn
from torchcam.methods import LeGrad
from torchvision.models import VisionTransformer

ROLLOUT, GRADIENT = "attention-rollout", "gradient-rollout"
VIT_EXPLAIN = {"compat": "vit-explain"}
# What family.published calls its maps: the peer, and what sightline calls them.
PUBLISHED: dict[str, list[tuple[str, str, dict]]] = {
    "abnar.rollout": [("attention_flow", ROLLOUT, {"preset": "abnar-2020"})],
    "abnar.rollout.no-residual": [("attention_flow", ROLLOUT, {"preset": "abnar-2020", "residualWeight": 0})],
    "mmeendez8.rollout": [("mmeendez8", ROLLOUT, {"preset": "mmeendez8"})],
    "chefer.rollout": [("Transformer-Explainability", ROLLOUT, {})],
    "chefer.rollout.start1": [("Transformer-Explainability", ROLLOUT, {"preset": "chefer-2021-rollout"})],
    "chefer.gae": [
        ("Transformer-MM-Explainability", "gae", {}),
        ("Transformer-MM-Explainability", GRADIENT, {"preset": "chefer-2021-gae"}),
    ],
    "chefer.gae.last": [("Transformer-MM-Explainability", "gae", {"preset": "chefer-2021-clip"})],
    "chefer.attention-grad-cam": [
        ("Transformer-Explainability", GRADIENT, {"preset": "chefer-2021-attention-grad-cam"})
    ],
    "vit-explain.max.0.9": [("vit-explain", ROLLOUT, {"preset": "vit-explain"} | VIT_EXPLAIN)],
    "vit-explain.mean.0.9": [("vit-explain", ROLLOUT, {"preset": "vit-explain", "headFusion": "mean"} | VIT_EXPLAIN)],
    "vit-explain.min.0": [("vit-explain", ROLLOUT, {"headFusion": "min"} | VIT_EXPLAIN)],
    "vit-explain.max.0": [("vit-explain", ROLLOUT, {"headFusion": "max"} | VIT_EXPLAIN)],
    "vit-explain.gradient.0.9": [("vit-explain", GRADIENT, {"preset": "vit-explain"} | VIT_EXPLAIN)],
    "vit-explain.gradient.0": [("vit-explain", GRADIENT, {"preset": "vit-explain", "discardRatio": 0} | VIT_EXPLAIN)],
}
NORMS: dict[str, dict] = {
    f"norms.{variant}{rest}": ({} if variant == "2020" else {"variant": variant}) | options
    for variant in ("2020", "residual", "residual-norm")
    for rest, options in (("", {}), (".rollout", {"rollout": True}))
}


def maps(case: Case, peers: Peers) -> dict[str, Tensor]:
    found, subject = Found(case.name), case.for_attention()
    seen = look(subject)
    published = family.published(subject, seen, peers)
    for key, names in PUBLISHED.items():
        for peer, method, options in names:
            found.add(peer, method, published[key], **options)
    layered = in_torchvision(subject)
    blocks = [f"encoder.layers.encoder_layer_{i}" for i in range(len(subject.blocks))]
    found.add("torch-cam", "le-grad", le_grad(layered, case, blocks))
    found.add("torch-cam", "le-grad", le_grad(layered, case, blocks[-1:]), startBlock=-1)
    is_wide = subject.blocks[0].attn.num_heads > 6  # the peer makes [heads, N, N, C] values, 1.4 GB a block
    if not is_wide:
        found_norms = family.norms(subject, seen, peers)
        for key, options in NORMS.items():
            found.add("norm-analysis", "attention-norms", found_norms[key], **options)
    every = list(range(len(subject.blocks)))
    zeroed = family.zeroing(subject, peers, every[-1:] if is_wide else every)
    found.add("ValueZeroing", "value-zeroing", zeroed["zeroing"])
    if not is_wide:
        found.add("ValueZeroing", "value-zeroing", zeroed["zeroing.rollout"], rollout=True)
    return found.tensors


def flow(case: Case, peers: Peers) -> dict[str, Tensor]:
    """networkx would take hours on 197 tokens: scipy's exact integers, whose agreement with it small archives show."""
    found, subject = Found(case.name), case.for_attention()
    found.add("scipy maximum_flow", "attention-flow", family.flows(subject, look(subject), peers, 1)["flow"])
    return found.tensors


def in_torchvision(subject: Subject) -> nn.Module:
    """timm's or our weights in torchvision's class, which is the only one that torch-cam's LeGrad takes."""
    weights = subject.model.state_dict()
    hidden, dim = weights["blocks.0.mlp.fc1.weight"].shape
    model = VisionTransformer(
        image_size=224,
        patch_size=16,
        num_layers=len(subject.blocks),
        num_heads=subject.blocks[0].attn.num_heads,
        hidden_dim=dim,
        mlp_dim=hidden,
        num_classes=len(weights["head.bias"]),
    )
    names = [
        ("blocks.", "encoder.layers.encoder_layer_"),
        ("norm1", "ln_1"),
        ("norm2", "ln_2"),
        ("attn.qkv.", "self_attention.in_proj_"),
        ("attn.proj", "self_attention.out_proj"),
        ("mlp.fc1", "mlp.0"),
        ("mlp.fc2", "mlp.3"),
        ("patch_embed.proj", "conv_proj"),
        ("cls_token", "class_token"),
        ("pos_embed", "encoder.pos_embedding"),
        ("head", "heads.head"),
    ]
    renamed = {}
    for key, value in weights.items():
        if key.startswith("norm."):
            key = f"encoder.ln.{key[5:]}"
        for old, new in names:
            key = key.replace(old, new)
        renamed[key] = value
    model.load_state_dict(renamed)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = subject.blocks[0].norm1.eps
    model.to(subject.images.dtype).eval()
    with torch.no_grad():
        difference = (model(subject.images) - subject.model(subject.images)).abs().max().item()
    assert difference < 1e-4, difference
    return model


def le_grad(model: nn.Module, case: Case, blocks: list[str]) -> Tensor:
    rows = []
    for image, target in zip(case.images, case.targets):
        with LeGrad(model, blocks) as extractor:
            rows.append(extractor(target, model(image[None]), normalized=False)[0].detach()[0])
    return torch.stack(rows)
