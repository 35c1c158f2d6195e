"""Declares torchvision's compiled operators, so that `import torchvision` works where its compiled library does not
load.

torchvision's wheel belongs to one exact build of torch; beside another one of the same version its library fails to
load, and the import stops at the fake kernels of these two operators. No classifier calls them: a schema is enough.
Import this before torchvision or timm. Where torchvision's own library does load, nothing is declared.
"""

import importlib.util
import os

import torch


def _loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    folder = os.path.dirname(spec.origin) if spec and spec.origin else ""
    library = (
        next(
            (
                os.path.join(folder, name)
                for name in sorted(os.listdir(folder))
                if name.startswith("_C") and name.endswith((".so", ".pyd"))
            ),
            None,
        )
        if folder
        else None
    )
    if library is None:
        return False
    try:
        torch.ops.load_library(library)
        return True
    except OSError:
        return False


if not _loads():
    _library = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
