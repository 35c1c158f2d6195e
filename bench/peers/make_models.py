"""Writes the archives that both sides of the benchmark run, and each one's state dict.

Usage: python bench/peers/make_models.py FOLDER [NAME...]     (default: resnet50 vit_b_16 timm_vit_b_16)

FOLDER/NAME.pt is what `torch.jit.trace(model.eval(), image).save(...)` gives, FOLDER/NAME.state.pt the same model's
state dict. Weights are each library's own initialisation under a fixed seed, with three changes that keep
activations and gradients like those of a trained network, since zeros and near-uniform attention would let either
side compare nothing:
 - batch-norm statistics are those that the network has on random pictures, then scattered by up to a quarter, and
   scales and offsets are scattered too;
 - the classifier's weights are drawn anew where the library starts them at zero (torchvision's ViT);
 - query and key weights are scaled so that attention scores have a standard deviation near 2.
"""

import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).parent))

from networks import NETWORKS, Network
import torch
from torch import Tensor, nn

SEED = 4
SCORE_DEVIATION = 2.0


def pictures(count: int, generator: torch.Generator) -> Tensor:
    """[count, 3, 224, 224], coarse structure with a little noise: what normalised photographs are like."""
    coarse = torch.randn(count, 3, 8, 8, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(224, 224), mode="bicubic", align_corners=False)
    return smooth + 0.2 * torch.randn(count, 3, 224, 224, generator=generator)


@torch.no_grad()
def settle_batch_norms(model: nn.Module, generator: torch.Generator) -> None:
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        norm.weight.copy_(1 + 0.2 * torch.randn(norm.weight.shape, generator=generator))
        norm.bias.copy_(0.2 * torch.randn(norm.bias.shape, generator=generator))
        norm.momentum = 1.0
    model.train()
    model(pictures(8, generator))
    model.eval()
    for norm in norms:
        norm.momentum = 0.1
        norm.running_mean.add_(
            0.1 * norm.running_var.sqrt() * torch.randn(norm.running_mean.shape, generator=generator)
        )
        norm.running_var.mul_(0.75 + 0.5 * torch.rand(norm.running_var.shape, generator=generator))


@torch.no_grad()
def sharpen_attention(model: nn.Module, image: Tensor) -> None:
    """Scales queries and keys block by block, each on the activations that the blocks before it give."""
    blocks = model.encoder.layers if hasattr(model, "encoder") else getattr(model, "blocks", [])
    for block in blocks:
        torchvisions = hasattr(block, "self_attention")
        norm = block.ln_1 if torchvisions else block.norm1
        seen: list[Tensor] = []
        hook = norm.register_forward_hook(lambda _module, _inputs, output, seen=seen: seen.append(output))
        model(image)
        hook.remove()
        if torchvisions:
            weight, bias, heads = (
                block.self_attention.in_proj_weight,
                block.self_attention.in_proj_bias,
                block.self_attention.num_heads,
            )
        else:
            weight, bias, heads = block.attn.qkv.weight, block.attn.qkv.bias, block.attn.num_heads
        width = weight.shape[1]
        query, key = (
            (seen[0] @ weight[part * width :][:width].T + bias[part * width :][:width])[0].unflatten(-1, (heads, -1))
            for part in (0, 1)
        )
        scores = torch.einsum("qhd,khd->hqk", query, key) / query.shape[-1] ** 0.5
        # What is common to a row changes no probability.
        deviation = (scores - scores.mean(dim=-1, keepdim=True)).std()
        weight[: 2 * width].mul_((SCORE_DEVIATION / deviation) ** 0.5)


@torch.no_grad()
def give_head_weights(model: nn.Module, generator: torch.Generator) -> None:
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    if not head.weight.any():
        head.weight.copy_(head.in_features**-0.5 * torch.randn(head.weight.shape, generator=generator))


def make(network: Network, folder: Path) -> None:
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    model = network.build().eval()
    settle_batch_norms(model, generator)
    image = pictures(1, generator)
    sharpen_attention(model, image)
    give_head_weights(model, generator)
    torch.save(model.state_dict(), network.state(folder))
    # With gradients on, as the libraries' documentation shows it: under no_grad torchvision's attention traces to one
    # operator that only inference has.
    archive = torch.jit.trace(model, image, check_trace=False)
    archive.save(str(network.archive(folder)))
    with torch.no_grad():
        several = pictures(2, generator)
        logits = model(several)
        difference = (archive(several) - logits).abs().max().item()
    assert torch.isfinite(logits).all() and difference < 1e-4 * logits.abs().max().item(), (
        f"{network.name}: the archive answers otherwise, by {difference}"
    )
    print(
        f"{network.archive(folder)}  logits: deviation {logits.std():.2f}, largest {logits.abs().max():.2f}, "
        f"archive differs by {difference:.1e}",
        flush=True,
    )


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("Say where to write: python bench/peers/make_models.py FOLDER [NAME...]")
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(NETWORKS)
    unknown = [name for name in names if name not in NETWORKS]
    if unknown:
        sys.exit(f"There is no network {unknown[0]}; there are {', '.join(NETWORKS)}.")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        make(NETWORKS[name], folder)


if __name__ == "__main__":
    main()
