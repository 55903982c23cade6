"""An image file without what it says in words, which may name a patient: the bytes of its picture stay as they are."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from medtrain.imaging import tiff
from medtrain.imaging.decode import extension

# Ancillary chunks that only say how to show the pixels (PNG specification, 11.3); critical ones have a capital.
PNG_KEPT = (
    b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"bKGD", b"hIST", b"pHYs", b"sPLT",
)  # fmt: skip
# JPEG segments (ITU-T T.81, B.1): APP0 to APP15 and comments may hold anything. These say how to read the colours.
JPEG_KEPT = ((0xE0, b"JFIF\0"), (0xE2, b"ICC_PROFILE\0"), (0xEE, b"Adobe"))
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # behind a scan: no stuffed byte, restart or filling
# Tags of TIFF 6.0 and its supplements that are numbers about the pixels, and 305, the program's name.
TIFF_KEPT = {
    *range(254, 260), 262, 263, 266, 273, 274, *range(277, 285), 290, 291, 292, 293, 296, 297, 301, 305, 317, 318, 319,
    320, 321, 322, 323, 324, 325, 332, 334, 336, 338, 339, 340, 341, 347, 530, 531, 532, 34675,
}  # fmt: skip


def strip_metadata(data: bytes) -> bytes:
    """A JPEG or PNG without comments, EXIF and the like, the very same bytes where it has none.

    ValueError for a file that cannot be had without: DICOM, a TIFF with texts, one that is not as it should be.
    """
    kind = extension(data)
    if kind == "dcm":
        raise ValueError("a DICOM file is not copied into shards: give --encoding jpeg or tiff")
    if kind == "tif":
        return _plain_tiff(data)
    try:
        return b"".join(_png_parts(data) if kind == "png" else _jpeg_parts(data))
    except (struct.error, IndexError):
        raise ValueError("its comments cannot be separated from its pixels: give --encoding jpeg or tiff") from None


def _png_parts(data: bytes) -> Iterator[bytes]:
    yield data[:8]
    place, kind = 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind[:1].isupper() or kind in PNG_KEPT:
            yield data[place : place + length + 12]
        place += length + 12


def _jpeg_parts(data: bytes) -> Iterator[bytes]:
    yield data[:2]
    place, marker = 2, 0
    while marker != 0xD9:
        while data[place : place + 2] == b"\xff\xff":  # filling
            place += 1
        start, marker = place, data[place + 1]
        if data[place] != 0xFF:
            raise IndexError("no marker")
        if marker == 0xD9 or marker == 0x01:  # without a length
            place += 2
        else:
            place += 2 + struct.unpack_from(">H", data, place + 2)[0]
        if marker == 0xDA:  # a scan goes on until the next marker
            following = NEXT_MARKER.search(data, place)
            place = following.start() if following else len(data)
        told = data[start + 4 : place]
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or any(
            marker == kept and told.startswith(name) for kept, name in JPEG_KEPT
        ):
            yield data[start:place]


def _plain_tiff(data: bytes) -> bytes:
    found, pages = tiff.tags(data)
    if found - TIFF_KEPT or pages > 1:
        raise ValueError("a TIFF that holds more than a picture is not copied into shards: give --encoding tiff")
    return data
