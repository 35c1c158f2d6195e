"""Declares torchvision's compiled operators, so that `import torchvision` works beside a CPU build of torch.

torchvision registers fake kernels for two operators at import, and fails when the compiled library that defines
them does not load. A classifier calls neither, so a schema without a kernel is enough.
Import this before torchvision, timm or transformers.
"""

import torch

_library = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
