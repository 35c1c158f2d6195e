"""Random weights in which nothing is hidden: no bias, token or embedding is zero, no scale is one, attention is
uneven."""

import torch
from torch import Tensor, nn

ATTENDING = (
    "qkv",
    "in_proj",
    "q_proj",
    "k_proj",
    "query",
    "key",
    "attn.q",
    "attn.k",
    "to_q",
    "to_k",
    ".q.",
    ".k.",
    "kv.",
    ".qk",
)
OFFSETS = ("token", "pos_embed", "position", "embedding", "bias_table", "attention_biases", "rel_", "register")
ATTENTION_GAIN = 1.4


def filled(name: str, tensor: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(tensor.shape, generator=generator)
    leaf = name.rpartition(".")[2]
    spread = float(tensor.float().std()) if tensor.numel() > 1 else 0.0
    level = float(tensor.float().mean())
    if spread <= 1e-6 * max(1.0, abs(level)):
        # A constant: zero and one are a bias's and a scale's, small numbers a layer scale's.
        if abs(level) < 1e-2:
            return 0.2 * noise if level == 0 else 0.6 + 0.1 * noise
        return level * (1 + 0.2 * noise)
    if any(part in name for part in OFFSETS):
        return 0.4 * noise
    if tensor.dim() >= 2 and leaf != "bias":
        fan_in = tensor.numel() / tensor.shape[0]
        attends = any(part in name for part in ATTENDING)
        gain = ATTENTION_GAIN if attends else 1.2 if tensor.dim() == 4 else 1.0
        return gain * fan_in**-0.5 * noise
    return tensor + 0.2 * noise * (1.0 if spread < 1e-3 else min(1.0, spread * 5))


@torch.no_grad()
def fill(model: nn.Module, size: tuple[int, int], seed: int, gain: float = 1.0) -> nn.Module:
    """Fills every parameter, weights times `gain`; then batch norms take what they see of random images, a little
    disturbed, so that values stay in range."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.named_parameters():
        tensor.copy_(filled(name, tensor, generator) * (gain if tensor.dim() >= 2 else 1.0))
    norms = [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    model.eval().requires_grad_(False)
    if norms:
        for module in norms:
            module.train()
            module.momentum, module.kept_momentum = 1.0, module.momentum
        model(torch.randn(4, 3, *size, generator=generator))
        for module in norms:
            module.eval()
            module.momentum = module.kept_momentum
            del module.kept_momentum
            module.running_mean.add_(
                0.1 * torch.randn(module.running_mean.shape, generator=generator) * module.running_var.sqrt()
            )
            module.running_var.mul_(0.8 + 0.4 * torch.rand(module.running_var.shape, generator=generator)).clamp_(
                min=1e-3
            )
    return model
