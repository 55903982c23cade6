"""A clip in a shard: a TIFF of one page a frame, uncompressed, so that any frame is one read away.

Every page is as large as the others and has one strip. The strips lie one behind the other after a header of 16 bytes,
then come the pages' directories (TIFF 6.0, section 2), in which a private tag holds the crc32 of the strip: a reader
that wants a few frames of thousands checks those alone. Any program that reads TIFF shows it.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]

HEADER_BYTES = 16
SHORT, LONG = 3, 4  # types of a field, TIFF 6.0
CRC32 = 65000  # the first of the tags that nobody registers
TAGS = (
    ("width", 256, LONG), ("height", 257, LONG), ("bits", 258, SHORT), ("compression", 259, SHORT),
    ("photometric", 262, SHORT), ("offset", 273, LONG), ("channels", 277, SHORT), ("rows", 278, LONG),
    ("bytes", 279, LONG), ("crc32", CRC32, LONG),
)  # fmt: skip
FIELD = [("tag", "<u2"), ("type", "<u2"), ("count", "<u4"), ("value", "<u4")]
PAGE = np.dtype([("fields", "<u2"), *((name, FIELD) for name, _, _ in TAGS), ("next", "<u4")])  # type: ignore[misc]
LARGEST = 2**32 - 1  # what the offsets of a TIFF can say


class DamagedFrame(ValueError):
    """A frame's bytes do not match their checksum."""


@dataclass(frozen=True)
class Shape:
    """Of all clips of a packed dataset: pixels of each side of a frame, and 1 (grey) or 3 (RGB) channels."""

    side: int
    channels: int

    @property
    def frame_bytes(self) -> int:
        """Of one frame."""
        return self.side**2 * self.channels

    def file_bytes(self, frames: int) -> int:
        """Of a clip's file."""
        return HEADER_BYTES + frames * (self.frame_bytes + PAGE.itemsize)


@dataclass(frozen=True)
class Written:
    """What was written: bytes, their crc32, and mean and deviation of each channel [3] (grey: three times the same)."""

    size: int
    crc32: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def write(file: BinaryIO, frames: Iterable[Frames], count: int, shape: Shape) -> Written:
    """Write `count` frames uint8 [side, side] or [side, side, 3] as they come, one in memory at a time.

    ValueError where they are more or fewer, or too many for a TIFF.
    """
    if shape.file_bytes(count) > LARGEST:
        raise ValueError(f"{count:,} frames of {shape.side} pixels a side are more than one TIFF can hold")
    directories = HEADER_BYTES + count * shape.frame_bytes
    checksum = _append(file, struct.pack("<2sHI3HH", b"II", 42, directories, 8, 8, 8, 0), 0)
    pages = _pages(count, shape)
    sums, squares, written = np.zeros(shape.channels), np.zeros(shape.channels), 0
    for frame in frames:
        if written == count:
            raise ValueError(f"there are more than the {count} frames that the file says it has")
        data = frame.tobytes()
        pages["crc32"]["value"][written] = zlib.crc32(data)
        checksum = _append(file, data, checksum)
        levels = np.arange(256.0)
        for channel in range(shape.channels):
            tally = np.bincount(frame.reshape(-1, shape.channels)[:, channel], minlength=256)
            sums[channel] += tally @ levels
            squares[channel] += tally @ levels**2
        written += 1
    if written < count:
        raise ValueError(f"there are {written} frames, and the file says it has {count}")
    checksum = _append(file, pages.tobytes(), checksum)
    mean = sums / (count * shape.side**2)
    deviation = np.sqrt(np.maximum(squares / (count * shape.side**2) - mean**2, 0))
    told = ((values * (3 // shape.channels)) for values in (mean.tolist(), deviation.tolist()))
    return Written(shape.file_bytes(count), checksum, *map(tuple, told))


def _append(file: BinaryIO, data: bytes, checksum: int) -> int:
    """The crc32 that continues `checksum`."""
    file.write(data)
    return zlib.crc32(data, checksum)


def _pages(count: int, shape: Shape) -> npt.NDArray[np.void]:
    """The directories of all pages, still without checksums."""
    pages = np.zeros(count, PAGE)
    pages["fields"] = len(TAGS)
    for name, tag, kind in TAGS:
        pages[name]["tag"], pages[name]["type"], pages[name]["count"] = tag, kind, 1
    numbers = np.arange(count, dtype=np.uint64)
    first = HEADER_BYTES + count * shape.frame_bytes
    grey = shape.channels == 1
    values = {
        "width": shape.side, "height": shape.side, "bits": 8, "compression": 1, "photometric": 1 if grey else 2,
        "offset": HEADER_BYTES + numbers * shape.frame_bytes, "channels": shape.channels, "rows": shape.side,
        "bytes": shape.frame_bytes,
    }  # fmt: skip
    for name, value in values.items():
        pages[name]["value"] = value
    if not grey:  # three numbers take more than a field has room for: they stand in the header
        pages["bits"]["count"], pages["bits"]["value"] = 3, 8
    pages["next"] = first + (numbers + 1) * PAGE.itemsize
    pages["next"][-1:] = 0
    return pages


def read(descriptor: int, start: int, frames: int, shape: Shape, which: npt.NDArray[np.int64]) -> Frames:
    """Some frames uint8 [len(which), side, side, channels] of a clip of `frames` at byte `start` of an open file.

    What lies between the first and the last of them is read in one go. ValueError (DamagedFrame) for one whose bytes
    are not those that were written.
    """
    first, last = int(which.min()), int(which.max()) + 1
    size = shape.frame_bytes
    data = os.pread(descriptor, (last - first) * size, start + HEADER_BYTES + first * size)
    directories = start + HEADER_BYTES + frames * size
    pages = os.pread(descriptor, (last - first) * PAGE.itemsize, directories + first * PAGE.itemsize)
    if len(pages) < (last - first) * PAGE.itemsize:
        raise DamagedFrame("the clip is cut off")
    expected, strips = np.frombuffer(pages, PAGE)["crc32"]["value"], memoryview(data)
    for frame in np.unique(which - first).tolist():
        if zlib.crc32(strips[frame * size : (frame + 1) * size]) != expected[frame]:
            raise DamagedFrame(f"the bytes of frame {first + frame} do not match their checksum")
    whole = np.frombuffer(data, np.uint8).reshape(last - first, shape.side, shape.side, shape.channels)
    return whole[which - first]
