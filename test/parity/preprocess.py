"""Resize and crop references by Pillow: preprocess/*.png and preprocess/index.json.

Usage: python test/parity/preprocess.py DIRECTORY_OF_PHOTOS

Sources are photos scaled and cut to moderate sizes once and kept as PNG, so that decoding is exact and only the
resize is compared. Each case of the index: {source, size: [width, height], interpolation: 'bilinear' | 'bicubic',
crop: [left, top, width, height] | null, result}. `size` is the exact size asked of Pillow's Image.resize (its
default: antialiased, uint8, horizontal pass first and rounded between the passes); `crop` is then cut out of it.
"""

import json
import sys
from pathlib import Path

from PIL import Image, __version__

FOLDER = Path(__file__).parent / "preprocess"
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
SOURCES = {  # name: (photo, size [width, height])
    "landscape": ("n02098286_West_Highland_white_terrier.JPEG", (500, 375)),
    "portrait": ("n02483708_siamang.JPEG", (180, 270)),
    "small": ("n03633091_ladle.JPEG", (61, 45)),
}
CROP = 224
CASES = [  # source, shorter side or exact size, interpolation, whether the centre crop follows
    ("landscape", 256, "bilinear", True),
    ("landscape", 232, "bicubic", True),
    ("landscape", 256, "bicubic", True),
    ("landscape", (64, 48), "bilinear", False),
    ("landscape", (64, 48), "bicubic", False),
    ("landscape", (97, 211), "bicubic", False),
    ("portrait", 232, "bilinear", True),
    ("portrait", 256, "bicubic", True),
    ("portrait", (64, 48), "bilinear", False),
    ("portrait", (40, 40), "bicubic", False),
    ("small", 256, "bilinear", True),
    ("small", 232, "bicubic", True),
    ("small", (61, 96), "bicubic", False),
    ("small", (20, 45), "bilinear", False),
]


def cut_to(photo: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The largest centred part of the photo with the size's proportions, at that size."""
    width, height = photo.size
    scale = min(width / size[0], height / size[1])
    part = (size[0] * scale, size[1] * scale)
    left, top = (width - part[0]) / 2, (height - part[1]) / 2
    return photo.resize(size, Image.Resampling.LANCZOS, box=(left, top, left + part[0], top + part[1]))


def shorter_side_to(size: tuple[int, int], side: int) -> tuple[int, int]:
    """torchvision's Resize(side): the longer side is truncated, not rounded."""
    width, height = size
    return (side, int(side * height / width)) if width <= height else (int(side * width / height), side)


def centre_crop(size: tuple[int, int]) -> list[int]:
    """torchvision's CenterCrop(224): halves are rounded to even."""
    left, top = (int(round((extent - CROP) / 2.0)) for extent in size)
    return [left, top, CROP, CROP]


def main(photos: Path) -> None:
    FOLDER.mkdir(exist_ok=True)
    images = {}
    for name, (photo, size) in SOURCES.items():
        images[name] = cut_to(Image.open(photos / photo).convert("RGB"), size)
        images[name].save(FOLDER / f"{name}.png", optimize=True)
    index = []
    for source, wanted, interpolation, cropped in CASES:
        image = images[source]
        size = shorter_side_to(image.size, wanted) if isinstance(wanted, int) else wanted
        result = image.resize(size, FILTERS[interpolation])
        crop = centre_crop(size) if cropped else None
        if crop:
            left, top, width, height = crop
            result = result.crop((left, top, left + width, top + height))
        file = f"{source}-{size[0]}x{size[1]}-{interpolation}{'-crop' if crop else ''}.png"
        result.save(FOLDER / file, optimize=True)
        index.append(
            {
                "source": f"{source}.png",
                "size": list(size),
                "interpolation": interpolation,
                "crop": crop,
                "result": file,
            }
        )
    (FOLDER / "index.json").write_text(json.dumps({"pillow": __version__, "cases": index}, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
