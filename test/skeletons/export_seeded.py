"""Exports a library's own model with seeded weights the usual way, by tracing it with the weights in it.

python test/skeletons/export_seeded.py ARCH SEED OUT.pt [SIZE]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models"))

import torch

from architectures import ARCHITECTURES
from seeded_checkpoints import own_naming, source_model
from seeded_values import seed_model

name, seed, out, *size = sys.argv[1:]
architecture = ARCHITECTURES[name]
other = int(size[0]) if size else None
side = other or architecture.size
model = seed_model(source_model(architecture, own_naming(architecture), 1000, other), int(seed))
with torch.no_grad():
    traced = torch.jit.trace(model, torch.zeros(1, 3, side, side), strict=False, check_trace=False)
torch.jit.save(traced, out)
