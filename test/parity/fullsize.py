"""Full-size check: skeleton archives (no weights) and the references for weights that a seed rule fills in.

Usage: python test/parity/fullsize.py

fullsize/NAME.pt is the traced model with every floating-point parameter and buffer a zero of stride 0, so that it
holds one number per tensor. Whoever loads it replaces each of them by this rule, in C++ or Python, bit for bit:

    names   = all of named_parameters() of the loaded module, sorted by name as bytes (std::string's operator<),
              followed by all of named_buffers() whose dtype is float32, sorted the same way
              (num_batches_tracked is int64 and stays as it is; it takes no index)
    i       = position in that one list, from 0
    g       = a CPU generator with seed 1000 + i              at::make_generator<at::CPUGeneratorImpl>(1000 + i)
    u       = rand(shape, g), contiguous float32 on the CPU   at::rand(sizes, g, at::kFloat)
    t       = (u - 0.5) * 2                                   u.sub(0.5).mul(2.0), exact in float32
    value   = by the first case that fits, `leaf` being the name after its last dot:
        leaf == "running_mean"                                t * 0.1
        leaf == "running_var"                                 u + 0.5
        leaf is one of class_token, cls_token, pos_embedding, pos_embed         t * 0.5
        dim >= 2                                              t * s, s = sqrt(3.0 / (numel / shape[0])) in double
        leaf == "weight" (so dim == 1: a norm's scale)        t * 0.1 + 1
        anything else (biases)                                t * 0.1

    Each line is one float32 tensor-by-scalar operation after another from left to right (mul, then add); the
    scalar is a double that at::mul rounds to float32 itself.
    The input is rand([2, 3, 224, 224], generator seeded 7) * 4 - 2   (u.mul(4.0).sub(2.0)).

A checksum of the filled weights is among the references (`weights.first`, `weights.sum`), so that a mistake in the
rule shows before it shows as wrong logits: for each i the first element and the sum in float64 of the value.
"""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).parent))

import torchvision_operators  # noqa: F401
import timm
import torch
import torchvision
from torch import Tensor, nn

import formulas
from capture import gradients, run
from reference_file import save_reference
from slim_archive import slim

FOLDER = Path(__file__).parent / "fullsize"
TARGETS = (5, 917)
EMBEDDINGS = ("class_token", "cls_token", "pos_embedding", "pos_embed")
MODELS = {
    "torchvision-resnet50": torchvision.models.resnet50,
    "torchvision-vit-b-16": torchvision.models.vit_b_16,
    "timm-vit-base-patch16-224": lambda: timm.create_model("vit_base_patch16_224"),
}
PARTS = {  # last spatial feature or last norm1, last block, and the pooled linear head
    "torchvision-resnet50": ("layer4", None, "fc"),
    "torchvision-vit-b-16": ("encoder.layers.encoder_layer_11.ln_1", "encoder.layers.encoder_layer_11", None),
    "timm-vit-base-patch16-224": ("blocks.11.norm1", "blocks.11", None),
}


def seeded_value(index: int, name: str, shape: torch.Size) -> Tensor:
    """The rule above."""
    leaf = name.rpartition(".")[2]
    uniform = torch.rand(shape, generator=torch.Generator().manual_seed(1000 + index))
    centred = (uniform - 0.5) * 2
    if leaf == "running_mean":
        return centred * 0.1
    if leaf == "running_var":
        return uniform + 0.5
    if leaf in EMBEDDINGS:
        return centred * 0.5
    if len(shape) >= 2:
        return centred * (3.0 / (shape.numel() / shape[0])) ** 0.5
    return centred * 0.1 + 1 if leaf == "weight" else centred * 0.1


def seeded_names(module: nn.Module) -> list[tuple[str, Tensor]]:
    parameters, buffers = (
        sorted(pairs, key=lambda pair: pair[0].encode())
        for pairs in (module.named_parameters(), module.named_buffers())
    )
    return parameters + [(name, tensor) for name, tensor in buffers if tensor.dtype == torch.float32]


@torch.no_grad()
def fill(module: nn.Module) -> list[Tensor]:
    values = []
    for index, (name, tensor) in enumerate(seeded_names(module)):
        values.append(seeded_value(index, name, tensor.shape))
        tensor.data = values[-1]
    return values


def save_skeleton(model: nn.Module, path: Path) -> None:
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            tensor.data = torch.zeros(1).expand(tensor.shape)
    with torch.no_grad():  # the usual way; for torchvision's ViT it gives _native_multi_head_attention
        torch.jit.trace(model, torch.zeros(1, 3, 224, 224), check_trace=False).save(str(path))
    slim(path)


def maps_of_image(name: str, model: nn.Module, image: Tensor) -> tuple[dict[str, Tensor], list[float]]:
    layer, _, head = PARTS[name]
    taken = run(model, image[None], windowed=False)
    feature, maps, gaps = taken.features[layer][0], {}, []
    attention = [a[0].detach() for a in taken.attention]
    where = dict(prefix=1, grid=(14, 14))
    for target in TARGETS:
        found = gradients(taken, target, [taken.live[layer], *taken.attention])
        slope, slopes = found[0][0], [g[0] for g in found[1:]]
        if head:
            maps[f"cam.{target}"] = formulas.cam(feature, model.get_submodule(head).weight[target])
            maps[f"grad-cam.{target}"] = formulas.grad_cam(feature, slope)
            continue
        gaps.append(formulas.least_gap(attention, slopes))
        maps[f"grad-cam.{target}"] = formulas.grad_cam_tokens(feature, slope, **where)
        for method, value in formulas.attention_maps(attention, slopes, class_token=True, **where).items():
            maps[f"{method}.{target}" if method.startswith(("gae", "gradient")) else method] = value
    return maps, gaps


def references(name: str, model: nn.Module, images: Tensor) -> tuple[dict[str, Tensor], float]:
    taken = run(model, images, windowed=False)
    layer, block, _ = PARTS[name]
    singles = [maps_of_image(name, model, image) for image in images]
    tensors = {"logits": taken.logits}
    if block is None:
        tensors[f"mean.features.{layer}"] = taken.features[layer].mean(dim=(2, 3))
    else:
        tensors[f"class-token.features.{layer}"] = taken.features[layer][:, 0]
        tensors[f"class-token.features.{block}"] = taken.features[block][:, 0]
        for i in (0, 5, 11):
            tensors[f"class-row.attention.{i}"] = taken.attention[i][:, :, 0]
    for method in singles[0][0]:
        tensors[f"maps.{method}"] = torch.stack([maps[method] for maps, _ in singles])
    gaps = [gap for _, found in singles for gap in found]
    return {key: value.detach().clone().contiguous() for key, value in tensors.items()}, min(gaps, default=float("inf"))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, build in MODELS.items():
        archive = FOLDER / f"{name}.pt"
        save_skeleton(build().eval(), archive)

        model = build().eval().requires_grad_(False)
        loaded = torch.jit.load(str(archive))
        assert [key for key, _ in seeded_names(loaded)] == [key for key, _ in seeded_names(model)]
        fill(loaded)
        values = [value.clone() for value in fill(model)]
        images = torch.rand([2, 3, 224, 224], generator=torch.Generator().manual_seed(7)) * 4 - 2
        tensors, gap = references(name, model, images)
        exact, _ = references(name, model.double(), images.double())
        rounding = {
            key: float(f"{(value - exact[key]).abs().max() / exact[key].abs().max():.1e}")
            for key, value in tensors.items()
        }
        tensors |= {
            "targets": torch.tensor(TARGETS),
            "weights.first": torch.stack([value.flatten()[0] for value in values]),
            "weights.sum": torch.stack([value.double().sum() for value in values]),
        }
        with torch.no_grad():
            difference = (loaded(images) - tensors["logits"]).abs().max().item()
        assert difference < 1e-4, f"{name}: the filled skeleton gives other logits, by {difference}"
        path = FOLDER / f"{name}.safetensors"
        save_reference(
            tensors,
            path,
            {
                "source": name,
                "versions": json.dumps({m.__name__: m.__version__ for m in (torch, torchvision, timm)}),
                "note": f"weights by the rule in fullsize.py; least gap of a discard {gap:.1e}",
                # Each tensor's largest difference to a float64 run, relative to its largest value: what float32 itself
                # costs.
                "float64": json.dumps(rounding),
            },
        )
        print(
            name,
            archive.stat().st_size // 1024,
            path.stat().st_size // 1024,
            f"logits {difference:.1e} gap {gap:.1e}",
            rounding,
            flush=True,
        )


if __name__ == "__main__":
    main()
