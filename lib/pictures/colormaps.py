"""Writes colormap-tables.ts: matplotlib's tables, 256 RGB entries each, as base64 of 768 bytes.

Run it from anywhere, with matplotlib installed: python lib/pictures/colormaps.py
"""

import base64
from pathlib import Path

import matplotlib
import numpy as np

NAMES = {"turbo": "turbo", "viridis": "viridis", "inferno": "inferno", "jet": "jet", "gray": "gray"}
WIDTH = 112


def literal(name: str) -> str:
    table = matplotlib.colormaps[NAMES[name]](np.arange(256), bytes=True)[:, :3]
    text = base64.b64encode(np.ascontiguousarray(table).tobytes()).decode()
    lines = [text[at : at + WIDTH] for at in range(0, len(text), WIDTH)]
    return f"  {name}:\n    " + " +\n    ".join(f"'{line}'" for line in lines) + ",\n"


def main() -> None:
    body = "".join(literal(name) for name in NAMES)
    Path(__file__).with_name("colormap-tables.ts").write_text(
        "/** Written by colormaps.py: each value is base64 of 256 RGB triples. Do not edit by hand. */\n"
        "export const COLORMAP_TABLES = {\n" + body + "} as const;\n"
    )


if __name__ == "__main__":
    main()
