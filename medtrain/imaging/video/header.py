"""What the file of a clip tells of it before any frame is decoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

SHORTEST_MS, LONGEST_MS = 1.0, 1000.0  # between two frames: outside of these a header is wrong, whatever it says


class Region(NamedTuple):
    """An ultrasound region (PS3.3 C.8.5.5): first and last column and row, both inclusive; RegionDataType (1 is
    tissue, 2 colour flow) and RegionSpatialFormat (1 is 2D)."""

    x0: int
    y0: int
    x1: int
    y1: int
    data_type: int
    spatial_format: int


@dataclass(frozen=True)
class ClipHeader:
    """Frames of `height` x `width` pixels, one each `frame_ms` milliseconds (0: unknown, or absurd).

    `colour` is DICOM's Photometric Interpretation, or the four letters of a video's codec. `patient` and `study` are
    the file's own identifiers: empty where it has none; they are for keeping a patient's clips together, and must
    never be written anywhere.
    """

    frames: int
    height: int
    width: int
    frame_ms: float
    colour: str
    regions: tuple[Region, ...] = ()
    patient: str = ""
    study: str = ""


def first_plausible(times_ms: Iterable[float]) -> float:
    """The first of some frame times that can be one; 0 if none can."""
    return next((time for time in times_ms if SHORTEST_MS <= time <= LONGEST_MS), 0.0)
