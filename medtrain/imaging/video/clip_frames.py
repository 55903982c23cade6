"""The frames of a clip file as they are packed, and as a model gets them: the sector alone, in a square."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medtrain.imaging.encode import squared
from medtrain.imaging.video import reader
from medtrain.imaging.video.clip_tiff import Frames, Shape
from medtrain.imaging.video.header import ClipHeader
from medtrain.imaging.video.sector import find_sector


@dataclass(frozen=True)
class Clip:
    """`frames` uint8 [N, side, side, channels], and milliseconds from one to the next (0: unknown)."""

    frames: Frames
    frame_ms: float


def prepared(path: Path, shape: Shape) -> tuple[ClipHeader, Iterator[Frames]]:
    """A clip's header, and one after the other its frames uint8 [side, side] or [side, side, 3]; what lies outside the
    ultrasound sector is black. ValueError, also while they come, says why it cannot be used."""
    header = reader.header(path)
    sector = find_sector(path, header)
    return header, (squared(sector.cut(frame), shape.side, shape.channels == 1) for frame in reader.frames(path))


def read_clip(path: Path, shape: Shape) -> Clip:
    """All of it; ValueError as of `prepared`."""
    header, frames = prepared(path, shape)
    side = (shape.side, shape.side, shape.channels)
    return Clip(np.stack([frame.reshape(side) for frame in frames]), header.frame_ms)
