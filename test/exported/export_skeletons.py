"""Exports the models that the skeletons are of by torch.export, with seeded weights: OUT/NAME.{training,inference,
core}.pt2, and the same weights as a checkpoint for the skeleton, OUT/NAME.safetensors.

Usage: python test/exported/export_skeletons.py OUT [NAME...]
"""

import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).parents[2] / "models"))

from torchvision_import import import_torchvision

import_torchvision()
import torch

from architectures import ARCHITECTURES
from seeded_checkpoints import write_checkpoint
from seeded_values import seed_model

SEED, CLASSES = 5, 7


def export(name: str, out: Path) -> None:
    architecture = ARCHITECTURES[name]
    write_checkpoint(architecture, None, SEED, CLASSES, None, out / f"{name}.safetensors")
    model = seed_model(architecture.build(CLASSES), SEED)
    images = torch.randn(2, 3, architecture.size, architecture.size, generator=torch.Generator().manual_seed(SEED))
    program = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, str(out / f"{name}.training.pt2"))
    torch.export.save(program.run_decompositions({}), str(out / f"{name}.inference.pt2"))
    torch.export.save(program.run_decompositions(), str(out / f"{name}.core.pt2"))


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or ARCHITECTURES:
        export(name, out)
        print(name, flush=True)
