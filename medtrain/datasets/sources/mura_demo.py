"""Generated bone X-rays in the layout of MURA: broken, plated or whole, of seven study types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import InputError
from medtrain.datasets.layouts import whole_folder
from medtrain.datasets.record import Record
from medtrain.datasets.sources import mura

TITLE = "Generated bone X-rays in MURA's layout, broken, plated or whole, to see that system run without any download."
CLASSES = mura.STUDY_TYPES
STATES = mura.STATES
TASK = "abnormality"
IMAGES = 1_400
LICENCE = "No restriction: medtrain generates the images itself. They show no person, and teach nothing about any."
SHARING = "free"
ACCESS = "medtrain data download mura_demo --root mura_demo   (in a few seconds), then use --root mura_demo"

SIZE = 224
VIEWS = (1, 2, 2, 3, 3, 3)  # images of a study, drawn from these
BONES = dict(zip(CLASSES, (3, 5, 2, 4, 1, 2, 3), strict=True))  # that an image of a study type shows
Floats = NDArray[np.float32]


def records(root: Path) -> list[Record]:
    """Every image, as MURA's are read."""
    if not (root / "MURA-v1.1").is_dir():
        raise InputError(f"{root} holds no generated bone X-rays", ACCESS)
    return [replace(record, source="mura_demo") for record in mura.records(root)]


about, told = mura.about, mura.told


def download(root: Path, samples: int = IMAGES, seed: int = 0) -> None:
    """Draw `samples` images into the new folder `root`, with MURA's four tables.

    A patient has studies of one or two types. An image depends on `seed` and its patient alone. `root` appears when the
    last image is drawn.
    """
    if samples < 50:
        raise InputError(f"{samples} samples are too few", "generate 50 or more")
    with whole_folder(root) as folder:
        studies: dict[str, dict[str, tuple[bool, list[str]]]] = {split: {} for split in mura.SPLITS}
        for split, study, abnormal, pictures in _studies(samples, seed):
            names = [f"{study}/image{number}.png" for number in range(1, len(pictures) + 1)]
            (folder / "MURA-v1.1" / study).mkdir(parents=True)
            for name, picture in zip(names, pictures, strict=True):
                cv2.imwrite(str(folder / "MURA-v1.1" / name), picture)
            studies[split][study] = abnormal, names
        for split, own in studies.items():
            _write_tables(folder / "MURA-v1.1", split, own)


def _write_tables(base: Path, split: str, studies: dict[str, tuple[bool, list[str]]]) -> None:
    paths = [f"MURA-v1.1/{name}\n" for _, names in studies.values() for name in names]
    labels = [f"MURA-v1.1/{study}/,{int(abnormal)}\n" for study, (abnormal, _) in studies.items()]
    (base / f"{split}_image_paths.csv").write_text("".join(paths))
    (base / f"{split}_labeled_studies.csv").write_text("".join(labels))


def _studies(samples: int, seed: int) -> Iterator[tuple[str, str, bool, list[NDArray[np.uint8]]]]:
    """Split, path, whether it is abnormal, and images of each study, until there are so many images."""
    drawn, patient = 0, 0
    while drawn < samples:
        patient += 1
        rng = np.random.default_rng((seed, patient))
        split = "valid" if rng.random() < 0.2 else "train"
        for kind in rng.choice(CLASSES, int(rng.integers(1, 3)), replace=False).tolist():
            abnormal = bool(rng.random() < 0.45)
            count = min(int(rng.choice(VIEWS)), samples - drawn)
            pictures = [draw(kind, abnormal, rng) for _ in range(count)]
            if pictures:
                word = "positive" if abnormal else "negative"
                yield split, f"{split}/{kind}/patient{patient:05}/study1_{word}", abnormal, pictures
            drawn += count


def draw(kind: str, abnormal: bool, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One view, uint8 [H, W] or, as some of MURA's, [H, W, 3]: bones side by side, of which an abnormal one is broken
    across or plated with metal."""
    high, wide = SIZE, int(rng.integers(SIZE * 2 // 3, SIZE))
    rows, columns = np.mgrid[0:high, 0:wide].astype(np.float32)
    turn = rng.uniform(-0.35, 0.35)
    x = (columns - wide / 2) * np.cos(turn) + (rows - high / 2) * np.sin(turn)
    y = (rows - high / 2) * np.cos(turn) - (columns - wide / 2) * np.sin(turn)
    bones = BONES[kind]
    apart = 0.8 * wide / bones
    picture = 30 + 40 * _soft(1 - np.abs(x) / (0.47 * wide), 0.05)  # soft tissue
    hurt = int(rng.integers(bones)) if abnormal else -1
    for bone in range(bones):
        middle = (bone - (bones - 1) / 2) * apart
        _bone(picture, x - middle, y, min(0.3 * apart, 22.0), bone == hurt, rng)
    noise = cv2.GaussianBlur(rng.normal(0, 1, picture.shape).astype(np.float32), (0, 0), 0.8)
    pixels = cv2.GaussianBlur(picture, (0, 0), 1.0) * rng.uniform(0.8, 1.15) + rng.uniform(-10, 10) + 8 * noise
    grey = np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8) if rng.random() < 0.3 else grey


def _bone(picture: Floats, x: Floats, y: Floats, half: float, hurt: bool, rng: np.random.Generator) -> None:
    """A shaft with a bright border and a wide end, whole or not, along y about x = 0."""
    place, length = rng.uniform(-35, 35), 95.0
    metal = hurt and rng.random() < 0.5
    if hurt and not metal:
        x = x + np.where(y > place + 0.5 * x, rng.choice((-1, 1)) * rng.uniform(0.7, 1.1) * half, 0)  # out of line
    width = half * (0.7 + 0.35 * (np.abs(y) / length) ** 4)
    inside = _soft((1 - np.abs(x) / width) * 4, 0.6) * _soft((length - np.abs(y)) / 6, 1)
    picture += inside * (60 + 45 * (np.abs(x) / np.maximum(width, 1)) ** 2)
    if hurt and not metal:
        picture -= 90 * inside * np.exp(-(((y - place - 0.5 * x) / 5) ** 2))
    if metal:
        plate = _soft((1 - np.abs(x - 0.4 * half) / (0.35 * half)) * 4, 0.5) * _soft((32 - np.abs(y - place)) / 4, 1)
        np.maximum(picture, 235 * plate, out=picture)


def _soft(inside: NDArray[np.floating], border: float) -> Floats:
    """1 where `inside` is above 0, 0 below, a ramp between."""
    return np.asarray(np.clip(inside / border * 0.5 + 0.5, 0, 1), np.float32)
