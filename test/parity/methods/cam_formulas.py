"""The papers' formulas in float64, where no peer computes them rightly. Activations and gradients [B, C, h, w]."""

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from cam_models import Subject

SPACE = (2, 3)


def plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Chattopadhay et al. 2018: alpha = g^2 / (2 g^2 + sum(A) g^3) = 1 / (2 + g sum(A)); weights sum(alpha relu(g)).

    Behind a ReLU alpha is at most 1/2 where it counts; of features with signs it has poles, and is held at 1.
    """
    a, g = activations.double(), gradients.double()
    alpha = 1 / (2 + g * a.sum(SPACE, keepdim=True)).clamp(min=1)
    weights = (alpha * g.relu()).sum(SPACE, keepdim=True)
    return (weights * a).sum(1).relu().float()


def rest(logits: Tensor, target: int) -> Tensor:
    """Shapley-CAM's utility of one image's logits [classes]: the logit plus the log-probability."""
    return logits[target] + logits.log_softmax(-1)[target]


def plain(logits: Tensor, target: int) -> Tensor:
    return logits[target]


def shapley(subject: Subject, layer: str, utility) -> Tensor:
    """Weights mean(g - H A / 2), by differentiating twice; one image at a time. For models that the peer cannot do."""
    module: nn.Module = subject.model.get_submodule(layer)
    maps = []
    for image, target in zip(subject.images, subject.targets):
        kept: list[Tensor] = []
        handle = module.register_forward_hook(lambda _module, _inputs, output, kept=kept: kept.append(output))
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels cannot be differentiated twice
            score = utility(subject.model(image[None])[0], target)
            handle.remove()
            (gradient,) = torch.autograd.grad(score, kept[0], create_graph=True)
            (curved,) = torch.autograd.grad(gradient, kept[0], kept[0].detach(), allow_unused=True)
        curved = torch.zeros_like(gradient) if curved is None else curved
        reshape = subject.reshape or (lambda tensor: tensor)
        weights = reshape(gradient - curved / 2).mean(SPACE, keepdim=True)
        maps.append((weights * reshape(kept[0])).sum(1).relu().detach()[0])
    return torch.stack(maps)
