"""medtrain.png: the same pixels from a file whose pixels are inflated, and no doubt about one that is damaged."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from medtrain.png import inflated

NOISE = np.random.default_rng(0).integers(0, 65536, (300, 301), np.uint16)
MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]


def picture(mode: str, side: int = 300, **options: Any) -> bytes:
    """A PNG of noise, as Pillow writes it."""
    if mode == "I;16":
        image = Image.fromarray(NOISE[:side, :side])
    else:
        image = Image.fromarray((NOISE[:side, :side] >> 10).astype(np.uint8)).convert(mode)
    if mode == "P":
        options["transparency"] = 3
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def drawn(rows: bytes, side: int, *, interlaced: bool = False, end: bytes = b"", parts: int = 1) -> bytes:
    """A grey PNG of `side` x `side` pixels made by hand; `rows` with their filters, in so many chunks."""
    stream = zlib.compress(rows) + end
    cuts = [len(stream) * i // parts for i in range(parts + 1)]
    pixels = b"".join(chunk(b"IDAT", stream[a:b]) for a, b in itertools.pairwise(cuts))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def read(data: bytes) -> NDArray[Any] | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", [1, 7, 300])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_the_pixels_are_the_same(mode: str, side: int, level: int) -> None:
    data = picture(mode, side, compress_level=level)
    expected, found = read(data), read(inflated(data))
    assert inflated(data) is not data
    assert expected is not None and found is not None
    assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist())


@pytest.mark.parametrize("rows", [255, 256, 65535, 65536, 131070, 131071])
def test_any_number_of_stored_blocks(rows: int) -> None:
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, rows, 8, 0, 0, 0, 0))
    data += chunk(b"IDAT", zlib.compress(bytes([0, 7]) * rows)) + chunk(b"IEND", b"")
    found = read(inflated(data))
    assert found is not None and found.shape == (rows, 1) and (found == 7).all()


def test_the_pixels_in_many_chunks_and_what_stands_around_them() -> None:
    data = drawn(b"".join(b"\0" + bytes(range(10)) for _ in range(10)), 10, parts=4)
    assert inflated(data).count(b"IDAT") == 1
    assert np.array_equal(read(inflated(data)), read(data))
    note = PngImagePlugin.PngInfo()
    note.add_text("before", "a")
    data = picture("L", pnginfo=note)
    data = data[:-12] + chunk(b"tEXt", b"after\0b") + data[-12:]
    image = Image.open(io.BytesIO(inflated(data)))
    image.load()
    assert image.text == {"before": "a", "after": "b"}  # type: ignore[attr-defined]


def test_a_damaged_or_shortened_file_comes_back_as_it_is() -> None:
    data = picture("L", 12)
    for place in range(8, len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 0x20
        assert inflated(bytes(flipped)) == bytes(flipped), f"byte {place}"
        assert inflated(data[:place]) == data[:place]


def test_what_is_not_plain_comes_back_as_it_is() -> None:
    rows = b"\0\7" * 1
    for odd in (
        drawn(rows, 1, interlaced=True),
        drawn(rows * 1000, 1),  # more than the header says
        drawn(rows, 2),  # less
        drawn(rows, 1, end=b"more"),
        drawn(rows, 1).replace(b"IDAT", b"IDAX"),
        drawn(rows, 2**32 - 1),  # more than any memory holds
    ):
        assert inflated(odd) is odd
    assert inflated(drawn(rows, 1)) != drawn(rows, 1)
