"""Generated chest X-rays in the layout of NIH ChestX-ray14: hearts, effusions, masses, nodules and collapsed lungs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import InputError
from medtrain.datasets.labels import PATHOLOGIES
from medtrain.datasets.layouts import whole_folder
from medtrain.datasets.record import Record
from medtrain.datasets.sources import nih

TITLE = "Generated chest X-rays at 256 x 256 px in NIH's layout, to see the chest system run without a download."
CLASSES = PATHOLOGIES
TASK = "multilabel"
IMAGES = 900
LICENCE = "No restriction: medtrain generates the images itself. They show no person, and teach nothing about any."
SHARING = "free"
ACCESS = "medtrain data download chest_demo --root chest_demo   (in a few seconds), then use --root chest_demo"

SIZE = 256
FOLLOW_UPS = (1, 1, 2, 3)  # images of a patient, drawn from these
Floats = NDArray[np.float32]
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


def records(root: Path) -> list[Record]:
    """Every image of the table, as NIH's are read."""
    if not (root / nih.TABLES[0]).is_file():
        raise InputError(f"{root} holds no generated chest X-rays", ACCESS)
    return [replace(record, source="chest_demo") for record in nih.records(root)]


def download(root: Path, samples: int = IMAGES, seed: int = 0) -> None:
    """Draw `samples` images of patients with one to three each into the new folder `root`, with table and split lists.

    An image depends on `seed`, its patient and its number alone. `root` appears when the last image is drawn.
    """
    if samples < 10:
        raise InputError(f"{samples} samples are too few", "generate 10 or more")
    with whole_folder(root) as folder:
        (folder / "images").mkdir()
        _draw_all(folder, samples, seed)


def _draw_all(folder: Path, samples: int, seed: int) -> None:
    rows, patient = [HEADER], 0
    lists: dict[str, list[str]] = {name: [] for name in nih.LISTS}
    while len(rows) <= samples:
        patient += 1
        rng = np.random.default_rng((seed, patient))
        age, sex, build = int(rng.integers(20, 90)), "FM"[int(rng.integers(2))], float(rng.uniform(0.9, 1.1))
        split = "test_list.txt" if rng.random() < 0.2 else "train_val_list.txt"
        for number in range(min(int(rng.choice(FOLLOW_UPS)), samples + 1 - len(rows))):
            findings = [name for name, (share, _) in FINDINGS.items() if rng.random() < share]
            name = f"{patient:08d}_{number:03d}.png"
            cv2.imwrite(str(folder / "images" / name), draw(findings, build, rng))
            said = "|".join(sorted(findings)) or nih.NO_FINDING
            rows.append(f"{name},{said},{number},{patient},{age + number},{sex},PA,{SIZE},{SIZE},1.4,1.4")
            lists[split].append(name)
    (folder / nih.TABLES[0]).write_text("\n".join(rows) + "\n")
    for name, images in lists.items():
        (folder / name).write_text("\n".join(images))


def draw(findings: list[str], build: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One thorax, uint8 [256, 256]: bright bone and soft tissue, dark lungs, and what `findings` name."""
    thorax = Thorax(build, rng)
    picture = thorax.empty()
    for name in findings:
        FINDINGS[name][1](thorax, picture, rng)
    if "Cardiomegaly" not in findings:
        thorax.heart(picture, rng.uniform(0.40, 0.48))
    gain, shade = rng.uniform(0.85, 1.15), rng.uniform(-12, 12)
    noise = cv2.GaussianBlur(rng.normal(0, 1, (SIZE, SIZE)).astype(np.float32), (0, 0), 0.8)
    pixels = (cv2.GaussianBlur(picture, (0, 0), 1.2) - 110) * gain + 110 + shade + 9 * noise
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)


class Thorax:
    """Where things are in one body, in pixels, and what can be drawn there."""

    def __init__(self, build: float, rng: np.random.Generator) -> None:
        self.x, self.y = SIZE / 2 + rng.uniform(-8, 8), SIZE * 0.47 + rng.uniform(-8, 8)
        self.wide, self.tall = 47 * build * rng.uniform(0.95, 1.05), 84 * build * rng.uniform(0.92, 1.05)
        self.apart = 53 * build
        self.rows, self.columns = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)

    def side(self, rng: np.random.Generator) -> int:
        """Left or right."""
        return int(rng.choice((-1, 1)))

    def lung(self, side: int) -> Floats:
        """1 in a lung, 0 outside, soft at the border: [256, 256]."""
        x = (self.columns - self.x - side * self.apart) / self.wide
        y = (self.rows - self.y) / self.tall
        narrow = 1 - 0.28 * np.clip(-y, 0, 1)  # towards the apex
        return _soft(1 - np.hypot(x / narrow, y), 0.03)

    def empty(self) -> Floats:
        """A body with lungs, spine, ribs and diaphragm."""
        body = _soft(1 - np.hypot((self.columns - self.x) / 122, (self.rows - SIZE * 0.62) / 176), 0.03)
        picture = 18 + 132 * body
        for side in (-1, 1):
            picture -= 92 * self.lung(side)
        picture += 26 * _soft(1 - np.abs(self.columns - self.x) / 11, 0.3)
        for number in range(8):
            height = self.y - self.tall + 20 + number * self.tall / 4.6
            arc = height + 0.0032 * (np.abs(self.columns - self.x) - 22) ** 2
            picture += 13 * body * _soft(1 - np.abs(self.rows - arc) / 4.2, 0.4)
        return np.asarray(picture, np.float32)

    def heart(self, picture: Floats, ratio: float) -> None:
        """A heart whose width is that share of the chest's (the cardiothoracic ratio)."""
        wide = ratio * (self.apart + self.wide)
        x, y = (
            (self.columns - self.x - 0.22 * wide) / wide,
            (self.rows - self.y - 0.46 * self.tall) / (0.42 * self.tall + 0.2 * wide),
        )
        np.maximum(picture, 158 * _soft(1 - np.hypot(x, y), 0.06), out=picture)

    def place(self, side: int, rng: np.random.Generator) -> tuple[float, float]:
        """A point within a lung, away from its border and the heart."""
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.5)
        return self.x + side * (
            self.apart + 0.3 * self.wide * far * np.cos(angle)
        ), self.y - 0.2 * self.tall + 0.7 * self.tall * far * np.sin(angle)


def _soft(inside: NDArray[np.floating], border: float) -> Floats:
    """1 where `inside` is above 0, 0 below, a ramp between."""
    return np.asarray(np.clip(inside / border * 0.5 + 0.5, 0, 1), np.float32)


def _cardiomegaly(thorax: Thorax, picture: Floats, rng: np.random.Generator) -> None:
    thorax.heart(picture, rng.uniform(0.60, 0.72))


def _effusion(thorax: Thorax, picture: Floats, rng: np.random.Generator) -> None:
    """Fluid at the base of a lung, higher at the chest wall."""
    side = thorax.side(rng)
    outward = side * (thorax.columns - thorax.x) / (thorax.apart + thorax.wide)
    level = thorax.y + thorax.tall * (rng.uniform(0.30, 0.60) - 0.25 * np.clip(outward, 0, 1) ** 2)
    picture += 86 * thorax.lung(side) * _soft((thorax.rows - level) / 30, 0.2)


def _disc(thorax: Thorax, picture: Floats, rng: np.random.Generator, radius: float, bright: float) -> None:
    x, y = thorax.place(thorax.side(rng), rng)
    wobble = 1 + 0.12 * np.sin(3 * np.arctan2(thorax.rows - y, thorax.columns - x) + rng.uniform(0, 6))
    picture += bright * _soft(1 - np.hypot(thorax.columns - x, thorax.rows - y) / (radius * wobble), 0.2)


def _mass(thorax: Thorax, picture: Floats, rng: np.random.Generator) -> None:
    _disc(thorax, picture, rng, rng.uniform(17, 26), rng.uniform(60, 80))


def _nodule(thorax: Thorax, picture: Floats, rng: np.random.Generator) -> None:
    _disc(thorax, picture, rng, rng.uniform(6, 9), rng.uniform(60, 80))


def _pneumothorax(thorax: Thorax, picture: Floats, rng: np.random.Generator) -> None:
    """Air outside the lung: black without vessels at apex and wall, and the edge of the collapsed lung."""
    side = thorax.side(rng)
    shrunk = 1 - rng.uniform(0.25, 0.40)
    x = (thorax.columns - thorax.x - side * thorax.apart * 0.8) / (thorax.wide * shrunk)
    y = (thorax.rows - thorax.y - 0.25 * thorax.tall) / (thorax.tall * shrunk)
    within = 1 - np.hypot(x, y)
    air = thorax.lung(side) * (1 - _soft(within, 0.04))
    picture -= 34 * air
    picture += 26 * thorax.lung(side) * _soft(within, 0.04) + 30 * thorax.lung(side) * np.exp(-((within / 0.03) ** 2))


def _infiltration(thorax: Thorax, picture: Floats, rng: np.random.Generator) -> None:
    """A cloud in a lung."""
    side = thorax.side(rng)
    x, y = thorax.place(side, rng)
    cloud = cv2.GaussianBlur(rng.normal(0, 1, (SIZE, SIZE)).astype(np.float32), (0, 0), 5) * 5
    near = np.exp(-((thorax.columns - x) ** 2 + (thorax.rows - y) ** 2) / (2 * rng.uniform(20, 28) ** 2))
    picture += 66 * thorax.lung(side) * near * np.clip(0.7 + 0.5 * cloud, 0, 1.4)


# How often each is there, alone or with others.
FINDINGS: dict[str, tuple[float, Callable[[Thorax, Floats, np.random.Generator], None]]] = {
    "Cardiomegaly": (0.20, _cardiomegaly),
    "Infiltration": (0.18, _infiltration),
    "Mass": (0.15, _mass),
    "Nodule": (0.15, _nodule),
    "Pneumothorax": (0.12, _pneumothorax),
    "Effusion": (0.20, _effusion),
}
