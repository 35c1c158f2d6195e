"""Exports a library's own model with seeded weights the usual way, by tracing it with the weights in it.

    python test/skeletons/export_seeded.py ARCH SEED OUT.pt
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models"))

import torch  # noqa: E402

from architectures import ARCHITECTURES  # noqa: E402
from seeded_checkpoints import own_naming, source_model  # noqa: E402
from seeded_values import seed_model  # noqa: E402

name, seed, out = sys.argv[1:]
architecture = ARCHITECTURES[name]
model = seed_model(source_model(architecture, own_naming(architecture), 1000, None), int(seed))
with torch.no_grad():
    traced = torch.jit.trace(model, torch.zeros(1, 3, architecture.size, architecture.size), strict=False, check_trace=False)
torch.jit.save(traced, out)
