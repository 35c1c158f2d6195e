"""Random weights that hide nothing: no bias, offset, token or embedding is zero and no scale is one."""

import torch
from torch import nn

NORMS = (nn.LayerNorm, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)


@torch.no_grad()
def seed_weights(model: nn.Module, seed: int, attention_gain: float = 1.4) -> nn.Module:
    """Fills every parameter and statistic of `model` from `seed`.

    Query, key and value weights get `attention_gain`, so that the scores' standard deviation is near its square:
    probabilities are then clearly uneven yet far from one-hot.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor):
        return torch.randn(tensor.shape, generator=generator)

    norms = {
        name for name, module in model.named_modules() if isinstance(module, NORMS) or "Norm" in type(module).__name__
    }
    for name, tensor in sorted(model.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        if owner in norms:
            value = 1 + 0.2 * normal(tensor) if leaf == "weight" else 0.2 * normal(tensor)
        elif leaf in ("gamma", "lambda1"):  # layer scale; its usual 1e-5 would make every block an identity
            value = 0.7 + 0.2 * normal(tensor)
        elif any(part in leaf for part in ("token", "pos_embed", "position_embeddings", "class_token", "bias_table")):
            value = 0.5 * normal(tensor)
        elif tensor.dim() >= 2:
            fan_in = tensor.numel() / tensor.shape[0]
            attends = any(part in name for part in ("qkv", "in_proj", "q_proj", "k_proj", "v_proj"))
            convolution = tensor.dim() == 4 and tensor.shape[-1] < 8 and "patch" not in name and "conv_proj" not in name
            gain = attention_gain if attends else 2**0.5 if convolution else 1.0
            value = gain * fan_in**-0.5 * normal(tensor)
        else:
            value = 0.2 * normal(tensor)
        tensor.copy_(value)
    for name, tensor in sorted(model.named_buffers()):
        if name.endswith("running_mean"):
            tensor.copy_(0.2 * normal(tensor))
        elif name.endswith("running_var"):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return model.eval().requires_grad_(False)
