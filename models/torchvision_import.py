"""Imports torchvision beside a torch whose build its compiled operators do not fit.

Wheels of torchvision from the plain index are built for CUDA; beside a CPU-only torch their library does not
load, and the import then stops at the first operator that is missing. No image classifier calls one of them.
"""

from __future__ import annotations

import importlib.util
import re
import types
from pathlib import Path

import torch

_kept: list[torch.library.Library] = []


def import_torchvision() -> types.ModuleType:
    """The torchvision module. Operators that cannot be loaded are declared, without a kernel."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("torchvision is not installed: pip install -r models/requirements.txt")
    folder = Path(next(iter(spec.submodule_search_locations)))
    if not _kept and not _operators_load(folder):
        library = torch.library.Library("torchvision", "DEF")
        source = (folder / "_meta_registrations.py").read_text()
        for name in sorted({"nms", *re.findall(r'"torchvision::(\w+)"', source)}):
            library.define(f"{name}() -> ()")
        _kept.append(library)  # a library that is collected takes its declarations along
    import torchvision

    return torchvision


def _operators_load(folder: Path) -> bool:
    for path in folder.glob("_C*"):
        try:
            torch.ops.load_library(str(path))
            return True
        except (OSError, RuntimeError):
            pass
    return False
