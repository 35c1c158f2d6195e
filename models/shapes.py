"""Textured objects on cluttered grounds, drawn from a seed, each with its exact mask.

The data of the bundled models. A class is a shape together with its own family of textures, so that a
patch of 16 px already says something of the class; colours, sizes, turns and places are free. Image i of
seed s depends on (s, i) alone: any number of processes makes the same data.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SIZE = 224
PATCH = 16
MOST_OBJECTS = 3

LABELS = (
    "striped disc",
    "checkered square",
    "dotted triangle",
    "wavy star",
    "brick rectangle",
    "ringed oval",
    "speckled hexagon",
    "zigzag diamond",
    "latticed cross",
    "rayed flower",
    "marbled pebble",
    "scaly dome",
)


@dataclass
class Scene:
    """One picture and what is in it."""

    image: np.ndarray
    """uint8 [height, width, 3]"""
    masks: np.ndarray
    """bool [objects, height, width], the visible pixels of each object; no pixel belongs to two."""
    classes: list[int]
    """index into LABELS, one an object"""


# ---------------------------------------------------------------- shapes: signed distance, < 0 inside, in px


def _polygon(x, y, normals, inradius):
    """A convex polygon as the greatest of its edges' distances."""
    return np.max([x * np.cos(a) + y * np.sin(a) for a in normals], axis=0) - inradius


def _star(x, y, r):
    # One edge of one point, reached by folding the plane: five points, each mirrored in its own axis.
    sector = 2 * np.pi / 5
    angle = np.abs((np.arctan2(y, x) + sector / 2) % sector - sector / 2)
    rho = np.hypot(x, y)
    px, py = rho * np.cos(angle), rho * np.sin(angle)
    inner = 0.62 * r
    bx, by = inner * np.cos(sector / 2), inner * np.sin(sector / 2)
    ex, ey = bx - 1.05 * r, by
    length = np.hypot(ex, ey)
    return ((px - 1.05 * r) * ey - py * ex) / length


def _shape(kind: int, x, y, r, rng):
    if kind == 0:
        return np.hypot(x, y) - 0.92 * r
    if kind == 1:
        return np.maximum(np.abs(x), np.abs(y)) - 0.74 * r
    if kind == 2:
        return _polygon(x, y, np.array([0, 1, 2]) * 2 * np.pi / 3, 0.55 * r)
    if kind == 3:
        return _star(x, y, r)
    if kind == 4:
        return np.maximum(np.abs(x) - 0.86 * r, np.abs(y) - 0.58 * r)
    if kind == 5:
        return (np.hypot(x / r, y / (0.68 * r)) - 1) * 0.68 * r
    if kind == 6:
        return _polygon(x, y, np.arange(6) * np.pi / 3, 0.84 * r)
    if kind == 7:
        return (np.abs(x) / (1.05 * r) + np.abs(y) / (0.7 * r) - 1) * 0.58 * r
    if kind == 8:
        long, wide = 0.94 * r, 0.44 * r
        ax, ay = np.abs(x), np.abs(y)
        return np.minimum(np.maximum(ax - long, ay - wide), np.maximum(ax - wide, ay - long))
    rho, angle = np.hypot(x, y), np.arctan2(y, x)
    if kind == 9:
        return rho - r * (0.82 + 0.18 * np.cos(6 * angle))
    if kind == 10:
        a, b = rng.uniform(0, 2 * np.pi, 2)
        return rho - r * (0.82 + 0.11 * np.cos(2 * angle + a) + 0.06 * np.cos(3 * angle + b))
    return np.maximum(rho - r, y - 0.35 * r)


# ---------------------------------------------------------------- textures: a mix in [0, 1] of two colours


def _edge(wave, sharpness=3.0):
    """A wave in [-1, 1] to a mix with soft edges, so that fine textures do not alias."""
    return np.clip(0.5 + 0.5 * sharpness * wave, 0, 1)


def _lookup(table, u, v):
    """A table of noise, bilinear and wrapped; u and v in cells."""
    n = table.shape[0]
    u0, v0 = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    fu, fv = (u - u0).astype(np.float32), (v - v0).astype(np.float32)
    a, b = table[v0 % n, u0 % n], table[v0 % n, (u0 + 1) % n]
    c, d = table[(v0 + 1) % n, u0 % n], table[(v0 + 1) % n, (u0 + 1) % n]
    return (a * (1 - fu) + b * fu) * (1 - fv) + (c * (1 - fu) + d * fu) * fv


def _texture(kind: int, u, v, scale, rng):
    tau = 2 * np.pi
    shift = rng.uniform(0, 40)
    if kind == 0:
        return _edge(np.sin(tau * (u + shift) / (rng.uniform(9, 15) * scale)))
    if kind == 1:
        p = rng.uniform(8, 12) * scale
        return _edge(np.sin(np.pi * (u + shift) / p) * np.sin(np.pi * (v + shift) / p), 4)
    if kind == 2:
        p = rng.uniform(11, 16) * scale
        du, dv = (u + shift) % p - p / 2, (v + shift) % p - p / 2
        return np.clip((0.32 * p - np.hypot(du, dv)) / scale + 0.5, 0, 1)
    if kind == 3:
        bend = 3.2 * scale * np.sin(tau * v / (rng.uniform(18, 26) * scale))
        return _edge(np.sin(tau * (u + shift + bend) / (rng.uniform(8, 11) * scale)))
    if kind == 4:
        h = rng.uniform(9, 12) * scale
        row = np.floor((v + shift) / h)
        du = (u + shift + (row % 2) * h) % (2 * h)
        dv = (v + shift) % h
        joint = 1.3 * scale
        return np.clip((joint - np.minimum(np.minimum(du, 2 * h - du), np.minimum(dv, h - dv))) / scale + 0.5, 0, 1)
    if kind == 5:
        return _edge(np.sin(tau * (np.hypot(u, v / 0.68) + shift) / (rng.uniform(10, 15) * scale)))
    if kind == 6:
        grains = (rng.random((48, 48)) < rng.uniform(0.3, 0.5)).astype(np.float32)
        p = rng.uniform(2.6, 3.8) * scale
        return grains[np.floor(v / p).astype(np.int64) % 48, np.floor(u / p).astype(np.int64) % 48]
    if kind == 7:
        q = rng.uniform(13, 18) * scale
        saw = np.abs((u + shift) % q - q / 2)
        return _edge(np.sin(tau * (v + 1.1 * saw) / (rng.uniform(9, 13) * scale)))
    if kind == 8:
        p = rng.uniform(10, 14) * scale
        du, dv = (u + shift) % p, (v + shift) % p
        line = np.minimum(np.minimum(du, p - du), np.minimum(dv, p - dv))
        return np.clip((1.7 * scale - line) / scale + 0.5, 0, 1)
    if kind == 9:
        return _edge(np.cos(int(rng.integers(9, 15)) * np.arctan2(v, u) + shift))
    table = rng.random((16, 16)).astype(np.float32)
    if kind == 10:
        p = rng.uniform(9, 13) * scale
        vein = _lookup(table, u / p + 8, v / p + 8) + 0.5 * _lookup(table, u / p * 2.1, v / p * 2.1)
        return np.clip(1 - np.abs(np.sin(tau * 1.1 * vein)) * 1.5, 0, 1)
    w = rng.uniform(13, 17) * scale
    h = w / 2
    row = np.floor((v + shift) / h)
    du = (u + shift + (row % 2) * h) % w - h
    dv = (v + shift) % h
    rho = np.hypot(du, dv)
    # A scale: bright at its root, falling to a dark rim; the next row shows in the gaps between.
    return np.where(rho < h, rho / h, np.hypot(np.abs(du) - h, dv - h) / h * 0.4) ** 1.5


# ---------------------------------------------------------------- scenes


def _two_colours(rng):
    """Two colours that differ enough in brightness for the texture to be seen; RGB in [0, 1]."""
    while True:
        a, b = rng.random(3), rng.random(3)
        if abs(float((a - b) @ (0.3, 0.59, 0.11))) > 0.3:
            return a.astype(np.float32), b.astype(np.float32)


_RESAMPLERS: dict[tuple[int, int], np.ndarray] = {}


def _resampler(coarse: int, fine: int) -> np.ndarray:
    """The matrix of bilinear interpolation from `coarse` to `fine` points."""
    found = _RESAMPLERS.get((coarse, fine))
    if found is None:
        at = np.linspace(0, coarse - 1, fine)
        low = np.minimum(at.astype(int), coarse - 2)
        found = np.zeros((fine, coarse), np.float32)
        found[np.arange(fine), low] = 1 - (at - low)
        found[np.arange(fine), low + 1] = at - low
        _RESAMPLERS[(coarse, fine)] = found
    return found


def _ground(width, height, scale, rng):
    """Clouds of colour, a faint weave, thin lines."""
    image = np.empty((3, height, width), np.float32)
    image[:] = rng.uniform(0.15, 0.85, 3).astype(np.float32)[:, None, None]
    for coarse, strength in ((4, 0.30), (14, 0.18), (56, 0.12)):
        noise = (rng.random((3, coarse, coarse)).astype(np.float32) - 0.5) * strength * rng.uniform(0.5, 1.5)
        image += _resampler(coarse, height) @ noise @ _resampler(coarse, width).T
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    for _ in range(rng.integers(0, 3)):
        # Faint ripples of every direction, so that a mere frequency is no class.
        a, period = rng.uniform(0, np.pi), rng.uniform(6, 40) * scale
        phase = 2 * np.pi / period
        tint = (rng.uniform(-0.07, 0.07, 3)).astype(np.float32)
        along, across = np.float32(phase * np.cos(a)), np.float32(phase * np.sin(a))
        wave = np.sin(along * x + across * y + np.float32(rng.uniform(0, 6)))
        image += tint[:, None, None] * wave
    for _ in range(rng.integers(2, 7)):
        a, at = rng.uniform(0, np.pi), rng.random(2)
        at = at.astype(np.float32)
        d = np.abs(np.float32(np.cos(a)) * (x - at[0] * width) + np.float32(np.sin(a)) * (y - at[1] * height))
        alpha = np.clip(rng.uniform(0.6, 2.2) * scale - d, 0, 1) * np.float32(rng.uniform(0.4, 1))
        image += alpha * (rng.random(3).astype(np.float32)[:, None, None] - image)
    return image


def _window(cx, cy, reach, width, height):
    x0, x1 = max(0, int(cx - reach)), min(width, int(cx + reach) + 2)
    y0, y1 = max(0, int(cy - reach)), min(height, int(cy + reach) + 2)
    y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    return (slice(y0, y1), slice(x0, x1)), x + 0.5 - np.float32(cx), y + 0.5 - np.float32(cy)


def _turn(x, y, angle):
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def _scraps(image, scale, rng):
    """Distractors: small plain or mottled bits in the outlines of the classes, without their textures."""
    _, height, width = image.shape
    for _ in range(rng.integers(8, 20)):
        r = rng.uniform(5, 17) * scale
        place, x, y = _window(rng.uniform(0, width), rng.uniform(0, height), 1.2 * r, width, height)
        u, v = _turn(x, y, rng.uniform(0, 2 * np.pi))
        alpha = np.clip(0.5 - _shape(int(rng.integers(len(LABELS))), u, v, r, rng), 0, 1) * rng.uniform(0.5, 1)
        colour = rng.random(3).astype(np.float32)[:, None, None]
        if rng.random() < 0.4:
            colour = colour + rng.normal(0, 0.12, (3, *u.shape)).astype(np.float32)
        part = image[(slice(None), *place)]
        part += alpha * (colour - part)


def _places(count, box, radii, rng):
    """Centres whose circles lie in the box and do not meet; the radii shrink when there is no room."""
    x0, y0, x1, y1 = box
    radii = np.array(radii, float)
    while True:
        for _ in range(40):
            c = rng.random((count, 2)) * (np.array([x1 - x0, y1 - y0]) - 2 * radii[:, None]) + radii[:, None] + (x0, y0)
            gaps = [np.hypot(*(c[i] - c[j])) - radii[i] - radii[j] for i in range(count) for j in range(i)]
            if min(gaps, default=1) > 0:
                return c, radii
        radii *= 0.96


def scene(
    rng: np.random.Generator,
    classes: list[int],
    *,
    width: int = SIZE,
    height: int = SIZE,
    scale: float = 1.0,
    box: tuple[float, float, float, float] | None = None,
) -> Scene:
    """Draws one picture with one object for each of `classes`.

    scale: model px to px of this canvas, textures included. box: where the objects may lie, in px
    (x0, y0, x1, y1); the whole canvas when None.
    """
    image = _ground(width, height, scale, rng)
    _scraps(image, scale, rng)
    most = (55, 52, 45)[len(classes) - 1]
    radii = [rng.uniform(36 if c in (4, 7, 8) else 31, most) * scale for c in classes]
    centres, radii = _places(len(classes), box or (0, 0, width, height), radii, rng)
    masks = np.zeros((len(classes), height, width), bool)
    for i, c in enumerate(classes):
        r = float(radii[i])
        place, x, y = _window(*centres[i], 1.2 * r, width, height)
        u, v = _turn(x, y, rng.uniform(0, 2 * np.pi))
        distance = _shape(c, u, v, r, rng)
        # Rays and rings keep the object's own centre; every other texture has a turn of its own.
        tu, tv = (u, v) if c in (5, 9) else _turn(u, v, rng.uniform(0, 2 * np.pi))
        mix = _texture(c, tu, tv, scale, rng)[None]
        a, b = _two_colours(rng)
        light = 1 + rng.uniform(-0.15, 0.15) * u / r
        colour = (a[:, None, None] + mix * (b - a)[:, None, None]) * light
        part = image[(slice(None), *place)]
        part += np.clip(0.5 - distance / scale, 0, 1) * (colour - part)
        inside = distance < 0
        masks[(slice(None), *place)] &= ~inside
        masks[(i, *place)] = inside
    image += rng.standard_normal(image.shape, np.float32) * rng.uniform(0, 0.04)
    pixels = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return Scene(np.ascontiguousarray(pixels.transpose(1, 2, 0)), masks, list(classes))


def sample(seed: int, index: int, count: int | None = None) -> Scene:
    """Image `index` of `seed`, 224 x 224, with `count` objects, or one (40 %), two (40 %) or three.

    Objects of one picture are of different classes.
    """
    rng = np.random.default_rng([seed, index])
    drawn = int(rng.choice(MOST_OBJECTS, p=(0.4, 0.4, 0.2))) + 1
    classes = rng.permutation(len(LABELS))[: count or drawn]
    return scene(rng, [int(c) for c in classes])


# ---------------------------------------------------------------- data sets on disk


def _fill(job):
    folder, seed, first, last, total = job
    images = np.memmap(folder / "images.u8", np.uint8, "r+", shape=(total, SIZE, SIZE, 3))
    grid = SIZE // PATCH
    cover = np.memmap(folder / "cover.u8", np.uint8, "r+", shape=(total, MOST_OBJECTS, grid, grid))
    classes = np.memmap(folder / "classes.i8", np.int8, "r+", shape=(total, MOST_OBJECTS))
    for i in range(first, last):
        s = sample(seed, i)
        images[i] = s.image
        n = len(s.classes)
        share = s.masks.reshape(n, grid, PATCH, grid, PATCH).mean((2, 4))
        cover[i, :n] = np.round(share * 255)
        classes[i, :n] = s.classes
    return last - first


def write_dataset(folder: Path, seed: int, total: int, workers: int = 2) -> Path:
    """Draws images 0..total-1 of a seed to flat files, once; a folder that is complete is left alone.

    images.u8 [total, 224, 224, 3]; cover.u8 [total, 3, 14, 14], each object's share of each 16 px patch
    times 255; classes.i8 [total, 3], -1 where there is no object.
    """
    about = {"seed": seed, "total": total, "labels": list(LABELS)}
    ready = folder / "ready.json"
    if ready.exists() and json.loads(ready.read_text()) == about:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    ready.unlink(missing_ok=True)  # before a byte changes: a run that is cut short leaves nothing that looks whole
    grid = SIZE // PATCH
    np.memmap(folder / "images.u8", np.uint8, "w+", shape=(total, SIZE, SIZE, 3))
    np.memmap(folder / "cover.u8", np.uint8, "w+", shape=(total, MOST_OBJECTS, grid, grid))
    np.memmap(folder / "classes.i8", np.int8, "w+", shape=(total, MOST_OBJECTS))[:] = -1
    step = 500
    jobs = [(folder, seed, a, min(a + step, total), total) for a in range(0, total, step)]
    done = 0
    with ProcessPoolExecutor(workers) as pool:
        for n in pool.map(_fill, jobs):
            done += n
            print(f"\rdrawn {done}/{total}", end="", flush=True)
    print()
    ready.write_text(json.dumps(about))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a data set of textured shapes.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--images", type=int, default=24000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    write_dataset(args.out, args.seed, args.images, args.workers)


if __name__ == "__main__":
    main()
