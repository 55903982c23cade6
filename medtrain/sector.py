"""Which part of a clip is the ultrasound picture: what moves. Names, dates and clocks beside it are cut away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medtrain import video
from medtrain.clipheader import ClipHeader, Region

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]

LOOKED_AT = 64  # frames: two heart beats and more
TISSUE, TWO_D = 1, 1  # RegionDataType, RegionSpatialFormat (PS3.3 C.8.5.5.1)
LEAST_RANGE = 3  # of 255: a sector's dim sides move no more; below it a lossy codec flickers
# Shares of the picture's shorter side: speckle closer than JOINED is one area; what is thinner than THIN, as a line of
# text, a clock or an ECG trace, is none of the sector, and is cut off where it touches it.
JOINED, THIN = 1 / 48, 1 / 12
LEAST_AREA = 1 / 50  # of the picture


@dataclass(frozen=True, eq=False)
class Sector:
    """`box`: first and last column and row (x0, y0, x1, y1), both inclusive. `mask`: uint8 [h, w] of the box, 1 inside
    the sector and 0 outside."""

    box: Box
    mask: Pixels

    def cut(self, frame: Pixels) -> Pixels:
        """uint8 [H, W, 3] -> [h, w, 3]: the box, black outside the sector."""
        x0, y0, x1, y1 = self.box
        return frame[y0 : y1 + 1, x0 : x1 + 1] * self.mask[:, :, None]


def find_sector(path: Path, header: ClipHeader) -> Sector:
    """The convex hull of the largest area that moves, in the tissue regions of the header that fit into its frames.

    ValueError where nothing moves, and as `video.frames`.
    """
    count = min(LOOKED_AT, header.frames)
    moved = _movement(path, np.linspace(0, header.frames - 1, count).round().astype(int).tolist())
    largest, found = 0.0, None
    for x0, y0, x1, y1 in _boxes(header):
        outline = _largest_area(moved[y0 : y1 + 1, x0 : x1 + 1])
        if outline is not None and (area := cv2.contourArea(outline)) > largest:
            largest, found = area, outline + np.array([x0, y0], np.int32)
    if found is None:
        raise ValueError("nothing moves in it: the ultrasound sector cannot be told from what is written beside it")
    x, y, width, height = cv2.boundingRect(found)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(mask, found - np.array([x, y], np.int32), 1)
    return Sector((x, y, x + width - 1, y + height - 1), mask)


def _movement(path: Path, which: list[int]) -> Pixels:
    """[H, W]: how far each pixel's brightness ranges over these frames, in the channel where it does most."""
    frames = video.frames(path, which)
    low = next(frames)
    high = low.copy()
    for frame in frames:
        np.minimum(low, frame, out=low)
        np.maximum(high, frame, out=high)
    return np.asarray((high - low).max(2))


def _boxes(header: ClipHeader) -> list[Box]:
    """Regions are not seldom of the picture before it was scaled down: one that does not fit says nothing."""
    regions = [region for region in header.regions if (region.data_type, region.spatial_format) == (TISSUE, TWO_D)]
    boxes = [region[:4] for region in regions if _fits(region, header)]
    return boxes or [(0, 0, header.width - 1, header.height - 1)]


def _fits(region: Region, header: ClipHeader) -> bool:
    return 0 <= region.x0 < region.x1 < header.width and 0 <= region.y0 < region.y1 < header.height


def _largest_area(moved: Pixels) -> NDArray[np.int32] | None:
    """The convex outline [points, 1, 2] (x, y) of the largest moving area; None where there is none of any size."""
    side = min(moved.shape)
    smooth = np.asarray(cv2.medianBlur(moved, 3))
    still = float(np.percentile(smooth, 5))  # of noise: beside a sector something always stands still
    areas: NDArray[Any] = (smooth > max(LEAST_RANGE, 1.5 * still)).astype(np.uint8)
    areas = cv2.morphologyEx(areas, cv2.MORPH_CLOSE, _disc(side * JOINED))
    outlines, _ = cv2.findContours(areas, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    areas = cv2.drawContours(np.zeros_like(moved), outlines, -1, 1, cv2.FILLED)  # a chamber's blood is dark and still
    areas = cv2.morphologyEx(areas, cv2.MORPH_OPEN, _disc(side * THIN))
    outlines, _ = cv2.findContours(areas, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(outlines, key=cv2.contourArea, default=None)
    if largest is None or cv2.contourArea(largest) < LEAST_AREA * moved.size:
        return None
    return np.asarray(cv2.convexHull(largest), np.int32)


def _disc(across: float) -> Pixels:
    size = max(3, round(across) | 1)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
