"""Checks of the references against other people's definitions: the libraries' own attention weights, the seed's
rollout, pytorch-grad-cam, torch-cam and the published GAE rule. Each returns the largest absolute difference."""

import copy

import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from timm.models.swin_transformer import SwinTransformer as TimmSwin
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import Tensor, nn
from torchcam.methods import CAM
from torchvision.models.vision_transformer import VisionTransformer
from transformers import PreTrainedModel

from exports import Kind, set_fused


def largest(ours: list[Tensor], theirs: list[Tensor]) -> float:
    assert len(ours) == len(theirs) > 0
    return max((a - b).abs().max().item() for a, b in zip(ours, theirs))


def normalised(maps: Tensor) -> Tensor:
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low)


def listed(tensors: dict[str, Tensor], part: str) -> list[Tensor]:
    return [tensors[f"{part}.{i}"] for i in range(sum(key.startswith(f"{part}.") for key in tensors))]


@torch.no_grad()
def library_attention(model: nn.Module, images: Tensor) -> list[Tensor] | None:
    """The attention weights as the library itself hands them out."""
    if isinstance(model, PreTrainedModel):
        eager = copy.deepcopy(model)
        eager.set_attn_implementation("eager")
        return list(eager(images, output_attentions=True).attentions)
    seen: list[Tensor] = []
    if isinstance(model, VisionTransformer):
        hooks = [
            block.self_attention.register_forward_pre_hook(
                lambda mha, inputs: seen.append(mha.forward(*inputs, need_weights=True, average_attn_weights=False)[1])
            )
            for block in model.encoder.layers
        ]
    elif isinstance(model, (TimmViT, TimmSwin)):
        model = copy.deepcopy(model)
        set_fused(model, False)
        hooks = [
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
            for name, module in model.named_modules()
            if name.endswith("attn_drop")
        ]
    else:
        return None
    model(images)
    for hook in hooks:
        hook.remove()
    return seen


def seed_rollout(attentions: list[Tensor]) -> Tensor:
    """Rollout as in the seed article on CNNs and Transformers; attentions [1, heads, N, N]."""
    probabilities = torch.stack(attentions).squeeze(1).mean(dim=1)
    probabilities = 0.5 * probabilities + 0.5 * torch.eye(probabilities.size(-1))
    probabilities = probabilities / probabilities.sum(dim=-1).unsqueeze(-1)
    rollout = probabilities[0]
    for layer in range(1, probabilities.size(0)):
        rollout = torch.matmul(probabilities[layer], rollout)
    return rollout[0]


def notebook_gae(attentions: list[Tensor], slopes: list[Tensor]) -> Tensor:
    """Chefer's rule for a pure self-attention encoder; attentions and gradients [1, heads, N, N]."""
    tokens = attentions[0].shape[-1]
    relevance = torch.eye(tokens)
    for attention, slope in zip(attentions, slopes):
        weighted = slope.reshape(-1, tokens, tokens) * attention.reshape(-1, tokens, tokens)
        relevance += torch.matmul(weighted.clamp(min=0).mean(dim=0), relevance)
    return relevance[0]


def pytorch_grad_cam(kind: Kind, model: nn.Module, images: Tensor, target: int) -> Tensor:
    model = copy.deepcopy(model).requires_grad_(True)

    def to_grid(tokens: Tensor) -> Tensor:
        return tokens[:, kind.prefix :].reshape(len(tokens), *kind.grid, -1).permute(0, 3, 1, 2)

    reshape = {"cnn": None, "tokens": to_grid, "windows": lambda t: t.permute(0, 3, 1, 2)}[kind.form]
    layer = model.get_submodule(kind.last)
    targets = [ClassifierOutputTarget(target)] * len(images)
    with GradCAM(model, [layer], reshape_transform=reshape) as peer:
        peer(input_tensor=images, targets=targets)
        # The grid-sized map, before the package resizes it to the image.
        features, slopes = (
            side[0].numpy() for side in (peer.activations_and_grads.activations, peer.activations_and_grads.gradients)
        )
        raw = torch.from_numpy(peer.get_cam_image(images, layer, targets, features, slopes))
    return normalised(raw.clamp(min=0))


def torch_cam(kind: Kind, model: nn.Module, images: Tensor, target: int) -> Tensor:
    with CAM(model, kind.last, kind.head) as peer, torch.no_grad():
        model(images)
        return normalised(peer(target, normalized=False)[0])


def peer_checks(
    kind: Kind, model: nn.Module, images: Tensor, target: int, tensors: dict[str, Tensor]
) -> dict[str, float]:
    found = {}
    attention = listed(tensors, "attention")
    plain = not isinstance(model, PreTrainedModel)
    if attention and (weights := library_attention(model, images)) is not None:
        found["library attention"] = largest(attention, weights)
    if kind.class_token:
        slopes = listed(tensors, "gradients.attention")
        cut = lambda row: row[kind.prefix :].reshape(kind.grid)  # noqa: E731
        for i in range(len(images)):
            one = slice(i, i + 1)
            pairs = {
                "seed rollout": ("attention-rollout", cut(seed_rollout([a[one] for a in attention]))),
                "notebook GAE": ("gae", cut(notebook_gae([a[one] for a in attention], [g[one] for g in slopes]))),
            }
            for check, (name, theirs) in pairs.items():
                found[check] = max(found.get(check, 0), largest([tensors[f"maps.{name}"][i]], [theirs]))
    if plain:
        found["pytorch-grad-cam"] = largest(
            [normalised(tensors["maps.grad-cam"])], [pytorch_grad_cam(kind, model, images, target)]
        )
    if plain and kind.form == "cnn":
        found["torch-cam CAM"] = largest([normalised(tensors["maps.cam"])], [torch_cam(kind, model, images, target)])
    return found
