"""Which part of a clip is the ultrasound picture: what moves, without the names, dates and clocks beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medtrain.imaging.video import reader
from medtrain.imaging.video.header import ClipHeader, Region

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]

LOOKED_AT = 64  # frames: two heart beats and more
TISSUE, TWO_D = 1, 1  # RegionDataType, RegionSpatialFormat (PS3.3 C.8.5.5.1)
LEAST_RANGE = 3  # of 255: a sector's dim sides move no more
# A lossy codec flickers round whatever stands still and is bright, as far as a macroblock of 16 pixels reaches: there
# only what ranges over more than this share of that brightness moves.
FLICKER, MACROBLOCK = 0.15, 16
# Shares of the picture's shorter side: speckle closer than JOINED is one area; what is thinner than THIN (a line of
# text, a clock, an ECG trace) is none of the sector, and is cut off where it touches it. A sector is CONVEX, by the
# share of its hull that it fills: while the area is not, something broader is still tied to it.
JOINED, THIN, CONVEX = 1 / 48, (1 / 12, 1 / 6, 1 / 4), 0.9
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

    What moves and touches the sector (an ECG trace across its lower edge) is part of it. ValueError where nothing
    moves, and as `reader.frames`.
    """
    count = min(LOOKED_AT, header.frames)
    moves = _moving(path, np.linspace(0, header.frames - 1, count).round().astype(int).tolist())
    largest, found = 0.0, None
    for x0, y0, x1, y1 in _boxes(header):
        outline = _largest_area(moves[y0 : y1 + 1, x0 : x1 + 1])
        if outline is not None and (area := cv2.contourArea(outline)) > largest:
            largest, found = area, outline + np.array([x0, y0], np.int32)
    if found is None:
        raise ValueError("nothing moves in it: the ultrasound sector cannot be separated from the text beside it")
    x, y, width, height = cv2.boundingRect(found)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(mask, found - np.array([x, y], np.int32), 1)
    return Sector((x, y, x + width - 1, y + height - 1), mask)


def _moving(path: Path, which: list[int]) -> Pixels:
    """uint8 [H, W]: 1 where a pixel's brightness ranges, over these frames and in any channel, over more than noise."""
    frames = reader.frames(path, which)
    low = next(frames)
    high = low.copy()
    for frame in frames:
        np.minimum(low, frame, out=low)
        np.maximum(high, frame, out=high)
    moved = np.asarray(cv2.medianBlur((high - low).max(2), 3))
    size = 2 * MACROBLOCK - 1
    around = np.asarray(cv2.dilate(low.max(2), np.ones((size, size), np.uint8)))
    dark = moved[around <= np.median(around)]  # beside a sector, where no letters shine that noise cannot change
    noise = 2 * float(np.percentile(dark, 5))
    least = np.maximum(FLICKER * around.astype(np.float32), max(LEAST_RANGE, noise))
    return np.asarray(moved > least, np.uint8)


def _boxes(header: ClipHeader) -> list[Box]:
    """Regions are not seldom of the picture before it was scaled down: one that does not fit says nothing."""
    regions = [region for region in header.regions if (region.data_type, region.spatial_format) == (TISSUE, TWO_D)]
    boxes = [region[:4] for region in regions if _fits(region, header)]
    return boxes or [(0, 0, header.width - 1, header.height - 1)]


def _fits(region: Region, header: ClipHeader) -> bool:
    return 0 <= region.x0 < region.x1 < header.width and 0 <= region.y0 < region.y1 < header.height


def _largest_area(moves: Pixels) -> NDArray[np.int32] | None:
    """The convex outline [points, 1, 2] (x, y) of the largest moving area; None where there is none of any size."""
    side = min(moves.shape)
    areas: NDArray[Any] = cv2.morphologyEx(moves, cv2.MORPH_CLOSE, _disc(side * JOINED))
    outlines, _ = cv2.findContours(areas, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    areas = cv2.drawContours(np.zeros_like(moves), outlines, -1, 1, cv2.FILLED)  # a chamber's blood is dark and still
    hull = None
    for thin in THIN:
        areas = cv2.morphologyEx(areas, cv2.MORPH_OPEN, _disc(side * thin))
        outlines, _ = cv2.findContours(areas, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        largest = max(outlines, key=cv2.contourArea, default=None)
        if largest is None or cv2.contourArea(largest) < LEAST_AREA * moves.size:
            break
        hull = np.asarray(cv2.convexHull(largest), np.int32)
        if cv2.contourArea(largest) >= CONVEX * cv2.contourArea(hull):
            break
    return hull


def _disc(across: float) -> Pixels:
    size = max(3, round(across) | 1)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
