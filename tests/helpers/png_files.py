"""PNG files for tests, as Pillow writes them and by hand."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

NOISE = np.random.default_rng(0).integers(0, 65536, (300, 301), np.uint16)
# Adam7 (PNG specification, 8.2): the first column and row of each pass, and its steps.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def picture(mode: str, side: int = 300, **options: Any) -> bytes:
    """A PNG of noise, as Pillow writes it."""
    if mode == "I;16":
        image = Image.fromarray(NOISE[:side, :side])
    else:
        image = Image.fromarray((NOISE[:side, :side] >> 10).astype(np.uint8)).convert(mode)
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def drawn(
    rows: bytes, side: int, *, interlaced: bool = False, end: bytes = b"", parts: int = 1, depth: int = 8,
    compressed: bool = False,
) -> bytes:  # fmt: skip
    """A grey PNG of `side` x `side` pixels made by hand; `rows` with their filters, in so many chunks."""
    stream = (rows if compressed else zlib.compress(rows)) + end
    cuts = [len(stream) * i // parts for i in range(parts + 1)]
    pixels = b"".join(chunk(b"IDAT", stream[a:b]) for a, b in itertools.pairwise(cuts))
    header = struct.pack(">IIBBBBB", side, side, depth, 0, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")
