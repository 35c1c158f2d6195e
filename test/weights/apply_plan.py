"""Fills a skeleton by a plan of lib/weights and compares its logits with the source model's.

    python test/weights/apply_plan.py SKELETON.pt PLAN.json REFERENCE.safetensors

Prints one JSON object: the largest difference, the largest logit, whether they are equal to the bit, and how far
float32 leaves the logits open, as test/support/rounding.ts has it.
"""

import io
import json
import re
import sys
import zipfile

import torch
from safetensors.torch import load_file

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
LAYER_NORM = re.compile(r"(torch\.layer_norm\([^\n]*, )[0-9.e-]+(\))")


def with_epsilon(archive: bytes, epsilon: float) -> bytes:
    """The archive with another epsilon in every layer norm, which tracing wrote into the code."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith(".py"):
                text, count = LAYER_NORM.subn(lambda match: f"{match[1]}{epsilon!r}{match[2]}", content.decode())
                assert count > 0
                content = text.encode()
            new.writestr(entry, content)
    return out.getvalue()


ROUNDOFF = 2.0**-24
NUDGE = 16 * ROUNDOFF
NUDGES = 12


def left_open(model: torch.jit.ScriptModule, image: torch.Tensor, logits: torch.Tensor) -> float:
    """Each operator rounds once, there and back; what that makes grows as the logits move farther than the pixels."""
    rounding = 2 * sum(node.kind().startswith("aten::") for node in model.inlined_graph.nodes()) * ROUNDOFF
    largest = logits.abs().max()
    condition = 1.0
    for seed in range(NUDGES):
        random = torch.Generator().manual_seed(seed)
        signs = torch.randint(0, 2, image.shape, generator=random) * 2 - 1
        moved = logits_of(model(image * (1 + NUDGE * signs)))
        condition = max(condition, float((moved - logits).abs().max() / largest) / NUDGE)
    return float(largest) * rounding * condition


def logits_of(output: torch.Tensor | dict[str, torch.Tensor]) -> torch.Tensor:
    return output["logits"] if isinstance(output, dict) else output


def read(part: dict, files: list[bytes]) -> torch.Tensor:
    raw = files[part["file"]][part["begin"] : part["end"]]
    # Copied into memory of torch's own: the source model's lies at multiples of 64 bytes, and sums begin by where
    # numbers lie.
    return (
        torch.frombuffer(bytearray(raw), dtype=DTYPES[part["dtype"]])
        .reshape(part["shape"])
        .to(torch.float32, copy=True)
    )


@torch.no_grad()
def main(skeleton: str, plan_path: str, reference_path: str) -> None:
    with open(plan_path) as file:
        plan = json.load(file)
    files = []
    for path in plan["files"]:
        with open(path, "rb") as file:
            files.append(file.read())
    with open(skeleton, "rb") as file:
        archive = file.read()
    if "layerNormEps" in plan:
        archive = with_epsilon(archive, plan["layerNormEps"])
    model = torch.jit.load(io.BytesIO(archive))
    places = model.state_dict(keep_vars=True)
    for assignment in plan["assignments"]:
        joined = (
            torch.cat([read(part, files) for part in assignment["parts"]])
            if len(assignment["parts"]) > 1
            else read(assignment["parts"][0], files)
        )
        places[assignment["name"]].data = joined.reshape(assignment["shape"])
    reference = load_file(reference_path)
    logits = logits_of(model(reference["image"]))
    wanted = reference["logits"]
    print(
        json.dumps(
            {
                "difference": float((logits - wanted).abs().max()),
                "largest": float(wanted.abs().max()),
                "equal": torch.equal(logits, wanted),
                "open": left_open(model, reference["image"], logits),
            }
        )
    )


main(*sys.argv[1:])
