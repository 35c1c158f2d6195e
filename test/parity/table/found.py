"""Maps of the peers by the options that make sightline give the same, in the form of cam.py:
`PEER {"method": ..., ...}`."""

import json
import time

from torch import Tensor


class Found:
    def __init__(self, name: str) -> None:
        self.name = name
        self.tensors: dict[str, Tensor] = {}
        self.start = time.monotonic()

    def add(self, peer: str, method: str, maps: Tensor, **options) -> None:
        """Maps [images, h, w] (or [images, concepts, h, w]): of the grid or of every pixel, in any scale. `every`: of
        each so-manieth row and column."""
        key = f"{peer} {json.dumps({'method': method} | options)}"
        maps = maps.detach().float()
        assert key not in self.tensors and maps.isfinite().all(), key
        flat = maps.flatten(-2)
        spread = (flat.amax(-1) - flat.amin(-1)) > 1e-4 * flat.abs().amax(-1)
        seconds, self.start = time.monotonic() - self.start, time.monotonic()
        print(f"{self.name} {key} {seconds:.1f} s{'' if spread.all() else ' FLAT'}", flush=True)
        self.tensors[key] = maps.clone().contiguous()
