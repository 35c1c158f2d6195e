"""Exports the models of test/parity by torch.export: OUT/NAME.{training,inference,core}.pt2, the weights those of the
archives.

Usage: python test/exported/export_parity.py OUT [NAME...]
"""

import re
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))

import torchvision_operators  # noqa: F401  (must come first)
import torch
from safetensors import safe_open

from exports import EXPORTS, KINDS, set_fused
from seeded_weights import seed_weights

REFERENCES = Path(__file__).parents[1] / "parity" / "references"


def export(name: str, out: Path) -> None:
    chosen = EXPORTS[name]
    kind = KINDS[chosen.kind]
    with safe_open(str(REFERENCES / f"{name}.safetensors"), "pt") as file:
        seed = int(re.search(r"weights from seed (\d+)", file.metadata()["note"]).group(1))
    model = seed_weights(kind.build(), seed)
    set_fused(model, chosen.fused)
    images = torch.randn(2, 3, *kind.size, generator=torch.Generator().manual_seed(seed + 2))
    program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, str(out / f"{name}.training.pt2"))
    torch.export.save(program.run_decompositions({}), str(out / f"{name}.inference.pt2"))
    torch.export.save(program.run_decompositions(), str(out / f"{name}.core.pt2"))


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or EXPORTS:
        export(name, out)
        print(name, flush=True)
