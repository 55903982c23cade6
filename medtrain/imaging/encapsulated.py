"""Where in an encapsulated DICOM file each frame lies (PS3.5 A.4)."""

from __future__ import annotations

import struct
from typing import BinaryIO

ITEM = (0xFFFE, 0xE000)
END_OF_IMAGE = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000 alike

Fragments = list[tuple[int, int]]  # the offset in the file and the length of each


def frames_in(source: BinaryIO, told: int, offsets: set[int], joined: bool) -> tuple[list[Fragments], bool]:
    """The fragments of each frame, and whether the file ends as it should, not in the midst of one.

    `source` stands at the value of the pixel data and should hold `told` frames. `offsets` are those of the Extended
    Offset Table, or none; `joined`: a frame may have several fragments. Without any table a frame ends with the
    fragment that ends an image.
    """
    items, whole = _items(source)
    if not items:
        return [], whole
    (table_at, table_length), fragments = items[0], items[1:]
    if len(fragments) == told or not joined:  # each frame has at least one
        return [[fragment] for fragment in fragments], whole
    source.seek(table_at)
    offsets = offsets or {*struct.unpack(f"<{table_length // 4}L", source.read(table_length // 4 * 4))}
    first = table_at + table_length + 8  # offsets are between the items' tags
    if not offsets <= {at - first for at, _ in fragments}:
        offsets = set()  # a table that is wrong
    frames: list[Fragments] = []
    ended = True
    for at, length in fragments:
        if at - first in offsets if offsets else ended:
            frames.append([])
        frames[-1].append((at, length))
        source.seek(at + max(length - 10, 0))  # padding may follow the end
        ended = END_OF_IMAGE in source.read(min(length, 10))
    return frames, whole


def frame_bytes(source: BinaryIO, fragments: Fragments) -> bytes:
    """The encoded frame whose fragments these are."""
    pieces = []
    for at, length in fragments:
        source.seek(at)
        pieces.append(source.read(length))
    return b"".join(pieces)


def _items(source: BinaryIO) -> tuple[Fragments, bool]:
    """Every item from where the source stands, the table of offsets first, and whether none is cut off."""
    items: Fragments = []
    at = source.tell()
    end = source.seek(0, 2)
    while at + 8 <= end:
        source.seek(at)
        group, element, length = struct.unpack("<HHL", source.read(8))
        if (group, element) != ITEM:
            return items, True  # the delimiter; or damage, and the number of frames will tell
        if at + 8 + length > end:
            break
        items.append((at + 8, length))
        at += 8 + length
    return items, False
