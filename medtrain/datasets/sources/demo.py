"""Six classes of drawn shapes in the layout of MedNIST: a dataset for a first run and for tests, made in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import InputError
from medtrain.datasets.layouts import class_folders, whole_folder
from medtrain.datasets.record import Record

TITLE = "Generated shapes at 64 x 64 px in six classes, to see the whole pipeline run without any download."
TASK = "multiclass"
IMAGES = 720
LICENCE = "No restriction: medtrain generates the images itself."
SHARING = "free"
ACCESS = "medtrain data download demo --root demo   (in a second), then use --root demo"

SIZE = 64
Floats = NDArray[np.float64]
Draw = Callable[[Floats, Floats, np.random.Generator], Floats]


def records(root: Path) -> list[Record]:
    """Every image of ROOT/CLASS/*.jpeg, or of ROOT/demo/CLASS/*.jpeg."""
    return class_folders("demo", root, CLASSES, "demo", ACCESS)


def download(root: Path, samples: int = IMAGES, seed: int = 0) -> None:
    """Draw `samples` images into the new folder `root`, the classes as evenly as can be.

    An image depends on `seed`, its class and its number alone: the same bytes each time, and a smaller dataset is
    part of a larger one. `root` appears when the last image is drawn.
    """
    if samples < len(CLASSES):
        raise InputError(f"{samples} samples are too few", f"draw {len(CLASSES)} or more: one for each class")
    with whole_folder(root) as folder:
        for label in CLASSES:
            (folder / label).mkdir()
        for sample in range(samples):
            number, kind = divmod(sample, len(CLASSES))
            path = folder / CLASSES[kind] / f"{number:06d}.jpeg"
            path.write_bytes(_jpeg(draw(CLASSES[kind], np.random.default_rng((seed, kind, number)))))


def draw(label: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One image of a class, uint8 [64, 64]: place, size, turn, brightness and noise are random."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    x, y = columns - rng.uniform(20, SIZE - 20), rows - rng.uniform(20, SIZE - 20)
    turn = rng.uniform(0, np.pi)
    shape = SHAPES[label](x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn), rng)
    background, contrast, noise = rng.uniform(30, 110), rng.uniform(35, 130), rng.uniform(8, 28)
    shade = rng.uniform(-0.4, 0.4) * (columns - SIZE / 2) + rng.uniform(-0.4, 0.4) * (rows - SIZE / 2)
    pixels: Floats = background + shade + contrast * shape + rng.normal(0, noise, shape.shape)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    import simplejpeg

    return simplejpeg.encode_jpeg(pixels[:, :, None], quality=90, colorspace="GRAY")  # type: ignore[no-any-return]


def _inside(distance: Floats) -> Floats:
    """1 where `distance` (pixels to an edge, positive inside) is inside, 0 outside, a ramp one pixel wide between."""
    return np.clip(distance + 0.5, 0, 1)


def _blob(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    return np.exp(-(x**2 + (rng.uniform(1.2, 1.8) * y) ** 2) / (2 * rng.uniform(8, 14) ** 2))


def _cross(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    arm, half = rng.uniform(11, 20), rng.uniform(2, 4)
    upright = np.minimum(half - np.abs(x), arm - np.abs(y))
    level = np.minimum(half - np.abs(y), arm - np.abs(x))
    return _inside(np.maximum(upright, level))


def _disc(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    return _inside(rng.uniform(8, 18) - np.hypot(x, y))


def _grid(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    period = rng.uniform(9, 16)
    return np.maximum(_lines(x, period), _lines(y, period))


def _ring(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    return _inside(rng.uniform(1.5, 3) - np.abs(np.hypot(x, y) - rng.uniform(10, 18)))


def _stripes(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    return _lines(x, rng.uniform(9, 16))


def _lines(x: Floats, period: float) -> Floats:
    """Parallel lines, each a quarter of the period thick."""
    return _inside(period / 8 - np.abs((x + period / 2) % period - period / 2))


SHAPES: dict[str, Draw] = {
    "blob": _blob,
    "cross": _cross,
    "disc": _disc,
    "grid": _grid,
    "ring": _ring,
    "stripes": _stripes,
}
CLASSES = tuple(SHAPES)
