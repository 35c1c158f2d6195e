"""The maps that evaluate.py judges the bundled models by, written plainly from their papers.

Every function takes preprocessed images [n,3,224,224] and one asked class an image [n], and gives maps
[n, rows, columns] at the model's own grid, unnormalised. A plain restatement in PyTorch, so that the
figures on the cards do not rest on the engine that they are to test.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from resnet import ResNet
from vit import VisionTransformer


def resnet_maps(model: ResNet, x: Tensor, asked: Tensor) -> dict[str, Tensor]:
    """CAM (Zhou et al., 2016), signed, and Grad-CAM (Selvaraju et al., 2017) at layer4."""
    kept: list[Tensor] = []
    handle = model.layer4.register_forward_hook(lambda _m, _i, output: kept.append(output))
    logits = model(x)
    handle.remove()
    features = kept[0]
    cam = torch.einsum("nchw,nc->nhw", features, model.fc.weight[asked])
    (gradient,) = torch.autograd.grad(logits.gather(1, asked[:, None]).sum(), features)
    weights = gradient.mean((2, 3), keepdim=True)
    return {"cam": cam.detach(), "grad-cam": (weights * features).sum(1).relu().detach()}


def vit_maps(model: VisionTransformer, x: Tensor, asked: Tensor) -> dict[str, Tensor]:
    """Grad-CAM at the last block's norm1, gradient rollout, GAE (Chefer et al., 2021b), attention rollout."""
    attention: list[Tensor] = []
    h = model.patch_embed(x)
    h = torch.cat((model.cls_token.expand(len(x), -1, -1), h), 1) + model.pos_embed
    for block in model.blocks:
        normed = block.norm1(h)
        a = block.attn
        n, tokens, dim = normed.shape
        q, k, v = a.qkv(normed).reshape(n, tokens, 3, a.num_heads, a.head_dim).permute(2, 0, 3, 1, 4)
        probabilities = (q @ k.transpose(-2, -1) * a.head_dim**-0.5).softmax(-1)
        attention.append(probabilities)
        h = h + a.proj((probabilities @ v).transpose(1, 2).reshape(n, tokens, dim))
        h = h + block.mlp(block.norm2(h))
    logits = model.head(model.norm(h)[:, 0])
    score = logits.gather(1, asked[:, None]).sum()
    *gradients, at_norm = torch.autograd.grad(score, [*attention, normed])
    patches, slopes = normed[:, 1:], at_norm[:, 1:]
    grad_cam = (slopes.mean(1, keepdim=True) * patches).sum(-1).relu()
    one = torch.eye(tokens)
    rollout = gradient_rollout = gae = one
    for a, g in zip(attention, gradients, strict=True):
        a = a.detach()
        mixed = 0.5 * a.mean(1) + 0.5 * one
        rollout = mixed / mixed.sum(-1, keepdim=True) @ rollout
        flow = (a * g).relu().mean(1)
        mixed = 0.5 * flow + 0.5 * one
        gradient_rollout = mixed / mixed.sum(-1, keepdim=True) @ gradient_rollout
        gae = gae + flow @ gae
    maps = {
        "grad-cam": grad_cam.detach(),
        "gradient-rollout": gradient_rollout[:, 0, 1:],
        "gae": gae[:, 0, 1:],
        "attention-rollout": rollout[:, 0, 1:],
    }
    side = int(patches.shape[1] ** 0.5)
    return {name: m.reshape(len(x), side, side) for name, m in maps.items()}


def points_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """bool [n]: whether the maximum of each map, upsampled to its mask's size, lies in the mask [n,h,w].

    Bilinear, align_corners=False. A flat map points nowhere.
    """
    full = F.interpolate(maps[:, None], masks.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    at = full.flatten(1).argmax(1, keepdim=True)
    inside = masks.flatten(1).gather(1, at)[:, 0]
    return inside & (maps.flatten(1).amax(1) > maps.flatten(1).amin(1))
