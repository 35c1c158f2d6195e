"""Writes a safetensors file whose bytes depend on its content alone."""

import json
from pathlib import Path

import safetensors.torch
from torch import Tensor


def save_reference(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    # The package writes the metadata in an order that changes from run to run, so the header is written anew.
    content = safetensors.torch.save(tensors, metadata)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
