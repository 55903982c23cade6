"""A grey PNG without what is beside its picture, of which OpenCV makes what kornia_rs makes of the whole file."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DEFLATE = 8
HAS_DICTIONARY = 0x20
# Adam7 (PNG specification, 8.2): the first column and row of each pass, and its steps.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
KNOWN = (b"IHDR", b"PLTE", b"IDAT")  # of the critical chunks before the end


def decode(data: bytes, size: tuple[int, int], mode: str = "mono") -> NDArray[Any]:
    """[H, W, 1] of a grey PNG of 8 or 16 bits and that `size`, as kornia_rs.io has it; ValueError where that raises.

    OpenCV alone is not enough: of an animation with a picture of its own it shows the first frame instead, and it
    refuses a stream whose checksum (Adler-32) or window size is wrong, which kornia_rs does not look at. Two kinds of
    files stay different, as an error of one of them: a side of more than a million pixels, which libpng does not take,
    and a compressed stream that breaks off right behind the last row, which kornia_rs takes or not.
    """
    header, stream = _parts(data)
    if not header or not _is_deflated(stream):
        raise ValueError("no grey PNG, or a damaged one")
    try:  # raw: no window size, no checksum
        rows = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream[2:], _length(header, *size))
    except zlib.error as error:
        raise ValueError("a damaged PNG") from error
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    plain = SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)
    pixels = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("a damaged PNG")
    return np.asarray(pixels)[:, :, None]


def _length(header: bytes, height: int, width: int) -> int:
    """Of the rows before they are compressed: a filter's number and the pixels of each."""
    depth, is_interlaced = header[8] // 8, header[12]
    parts = [
        (-(-(height - top) // down), -(-(width - left) // across))
        for left, top, across, down in (PASSES if is_interlaced else ((0, 0, 1, 1),))
    ]
    return sum(rows * (1 + columns * depth) for rows, columns in parts if columns > 0)


def _parts(data: bytes) -> tuple[bytes, bytes]:
    """The header, and the compressed picture: the chunks IDAT that follow each other. Empty where a critical chunk is
    damaged, unknown or there twice; the others are not looked at."""
    found: dict[bytes, bytes] = {}
    at = len(SIGNATURE)
    while data.startswith(SIGNATURE) and at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if b"IDAT" in found and kind != b"IDAT":
            return found.get(b"IHDR", b""), found[b"IDAT"]
        end = at + 12 + length
        if kind[:1].isupper():
            if kind not in KNOWN or (kind in found and kind != b"IDAT") or not _is_whole(data, at, end):
                break
            found[kind] = found.get(kind, b"") + data[at + 8 : end - 4]
        at = end
    return b"", b""


def _is_whole(data: bytes, at: int, end: int) -> bool:
    there = end <= len(data)
    return there and zlib.crc32(memoryview(data)[at + 4 : end - 4]) == struct.unpack_from(">I", data, end - 4)[0]


def _is_deflated(stream: bytes) -> bool:
    """Whether a stream begins as one of zlib without a dictionary (RFC 1950, 2.2)."""
    method, flags = struct.unpack_from("BB", stream.ljust(2, b"\0"))
    is_known = method & 15 == DEFLATE and method >> 4 <= 7 and not flags & HAS_DICTIONARY
    return is_known and (method << 8 | flags) % 31 == 0


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
