"""Small images of one's own in folders and tables, as new users have them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import simplejpeg


def draw(path: Path, number: int, bright: bool = False) -> Path:
    """A JPEG of 24 x 24 noise, all different, dark or bright."""
    rng = np.random.default_rng(number)
    pixels = (rng.normal(180 if bright else 70, 20, (24, 24, 1))).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(simplejpeg.encode_jpeg(pixels, quality=90, colorspace="GRAY"))
    return path


def class_tree(root: Path, classes: Iterable[str] = ("cat", "dog"), each: int = 3) -> Path:
    """ROOT/CLASS/N.jpg."""
    for kind, name in enumerate(classes):
        for number in range(each):
            draw(root / name / f"{number}.jpg", 1000 * kind + number, bright=bool(kind % 2))
    return root


def table_of(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    """A table, and an image for each row, whose first cell is its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join((*lines, "")).encode(encoding))
    return path


def colored_spots(root: Path, each: int = 20) -> Path:
    """ROOT/green and ROOT/red: spots that only their color tells apart, in PNG, JPEG and TIFF, 32 x 40 pixels."""
    hues = {"green": (73, 160, 60), "red": (211, 90, 60)}  # of one luma (ITU-R BT.601): 122
    for kind, (name, hue) in enumerate(hues.items()):
        for number in range(each):
            rng = np.random.default_rng(1000 * kind + number)
            pixels = rng.normal(150, 12, (32, 40, 3))
            top, left = rng.integers(2, 20, 2)
            pixels[top : top + 10, left : left + 12] = hue
            path = root / name / f"{number}.{('png', 'jpg', 'tif')[number % 3]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels.clip(0, 255).astype(np.uint8)[:, :, ::-1])
    return root
