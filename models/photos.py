"""Writes the photos of models/demo/photos from the packages that ship them.

    pip download --no-deps scikit-image==0.26.0 scikit-learn==1.9.1     # unpack both into FOLDER
    python models/photos.py FOLDER

Who took them, and under what licence: models/demo/photos/CREDITS.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

OUT = Path(__file__).resolve().parent / "demo" / "photos"
# File, and the part of it that is taken (left, top, right, bottom in px; None: the whole).
PHOTOS = {
    "cat.jpg": ("skimage/data/chelsea.png", (40, 0, 451, 300)),
    "coffee.jpg": ("skimage/data/coffee.png", None),
    "tripod.jpg": ("skimage/data/camera.png", None),
    "palace.jpg": ("sklearn/datasets/images/china.jpg", None),
}
QUALITY = 92


def main(folder: Path) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name, (source, box) in PHOTOS.items():
        path = folder / source
        if path.suffix == ".jpg":
            (OUT / name).write_bytes(path.read_bytes())
        else:
            Image.open(path).convert("RGB").crop(box).save(OUT / name, quality=QUALITY, subsampling=0, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
