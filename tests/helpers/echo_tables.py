"""Clips of one's own, and the table with their scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from dicom_files import as_bytes, dataset

NAME = "Jane^Doe"  # stands in a file's name and tags, and is printed nowhere


def clip(path: Path, patient: str = "", study: str = "", seed: int = 0, frames: int = 12) -> Path:
    """A DICOM clip of noise in a disc, grey, 25 frames per second."""
    y, x = np.mgrid[0:64, 0:80]
    inside = np.hypot(x - 40, y - 32) < 28
    pixels = (np.random.default_rng(seed).integers(40, 255, (frames, 64, 80)) * inside).astype(np.uint8)
    told = {"StudyInstanceUID": study} if study else {}
    made = dataset(
        pixels[0], 8, BitsAllocated=8, NumberOfFrames=frames, PixelData=pixels.tobytes(), PatientID=patient,
        PatientName=NAME, FrameTime="40", FrameIncrementPointer=0x00181063, Modality="US", **told,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_bytes(made))
    return path


def table(root: Path, *lines: str, head: str = "video_path,quality_score", name: str = "scores.csv") -> Path:
    root.mkdir(exist_ok=True)
    (root / name).write_text("\n".join((head, *lines)) + "\n")
    return root / name
