"""imaging.png: the pixels that OpenCV reads, and no doubt about a file that is damaged."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import PngImagePlugin
from png_files import NOISE, PASSES, drawn, picture

from medtrain.imaging import png
from medtrain.imaging.decode import decode


def opencv(data: bytes) -> NDArray[Any]:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("mode", ["L", "I;16"])
@pytest.mark.parametrize("side", [1, 7, 300])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_the_pixels_are_those_of_opencv(mode: str, side: int, level: int) -> None:
    data = picture(mode, side, compress_level=level)
    found, expected = png.grey(data), opencv(data)
    assert found is not None
    assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist())


@pytest.mark.parametrize("kind", range(5))
def test_each_filter(kind: int) -> None:
    rng = np.random.default_rng(kind)
    rows = b"".join(bytes([kind]) + rng.integers(0, 256, 50, np.uint8).tobytes() for _ in range(50))
    data = drawn(rows, 50, parts=4)
    found = png.grey(data)
    assert found is not None and np.array_equal(found, opencv(data))


def test_interlaced_and_with_a_transparent_grey() -> None:
    pixels = (NOISE[:20, :20] >> 8).astype(np.uint8)
    rows = b"".join(
        b"\0" + row.tobytes() for x, y, across, down in PASSES for row in pixels[y::down, x::across] if row.size
    )
    found = png.grey(drawn(rows, 20, interlaced=True))
    assert found is not None and np.array_equal(found, pixels)
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "none of a patient")
    data = picture("L", 20, transparency=3, pnginfo=note)
    assert np.array_equal(decode(data), opencv(data))


@pytest.mark.parametrize("mode", ["1", "LA", "P", "RGB", "RGBA"])
def test_other_kinds_are_left_to_opencv(mode: str) -> None:
    assert png.grey(picture(mode, 20)) is None
    assert decode(picture(mode, 20)).shape == (20, 20)


@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_a_damaged_or_shortened_file_has_no_pixels(mode: str) -> None:
    data = picture(mode, 12)
    for place in range(16, len(data) - 12):  # before the chunk that ends the file, which has no content
        flipped = bytearray(data)
        flipped[place] ^= 0x20
        assert png.grey(bytes(flipped)) is None, f"byte {place}"
        assert png.grey(data[:place]) is None, f"cut at {place}"
    for place in range(len(data) - 12, len(data)):
        with pytest.raises(ValueError, match="truncated PNG"):
            decode(data[:place])


def test_what_is_not_as_its_header_says_has_no_pixels() -> None:
    rows = b"\0\7"
    assert png.grey(drawn(rows, 1)) is not None
    for odd in (
        drawn(rows, 2),  # less than the header says
        drawn(rows, 1).replace(b"IDAT", b"IDAX"),
        drawn(rows, 2**32 - 1),  # more than any memory holds
        drawn(rows, 0),
        drawn(rows, 32_000),  # two gigabytes, says the header of few bytes
        b"\x89PNG\r\n\x1a\n",
    ):
        assert png.grey(odd) is None
