"""What a peer's job gets and gives: every module beside this one registers its jobs here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn


@dataclass(frozen=True)
class Setting:
    """`images` [N, 3, H, W] float32; `targets` one class per image; `options` of the job's own."""

    model: nn.Module
    images: Tensor
    targets: list[int]
    options: dict[str, Any]


@dataclass(frozen=True)
class Job:
    """`run` is what is timed, and does all that the peer's user would have to do for each call. `answer` turns what
    `run` returned into float32 [N, ...] that can be compared; it is not timed."""

    run: Callable[[], Any]
    answer: Callable[[Any], np.ndarray]
    # One cheap call that starts threads and fills caches, for jobs whose run takes minutes.
    warm: Callable[[], Any] | None = None


BUILDERS: dict[str, Callable[[Setting], Job]] = {}


def peer(name: str) -> Callable[[Callable[[Setting], Job]], Callable[[Setting], Job]]:
    def register(build: Callable[[Setting], Job]) -> Callable[[Setting], Job]:
        BUILDERS[name] = build
        return build

    return register
