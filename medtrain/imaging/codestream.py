"""What a compressed frame says of itself: the codestream's own header, before any decoder has it.

How samples lie, how many bits they have and whether they are signed is the codestream's matter, whatever the DICOM
header says (PS3.5 8.2.1, 8.2.3, 8.2.4). And GDCM ends the process where it is told otherwise.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from medtrain.imaging.dicom_faults import Damaged

SOI, SIZ, COD, SOT, SOD, EOC = 0xD8, 0x51, 0x52, 0x90, 0x93, 0xD9
LOSSLESS, JPEG_LS = 0xC3, 0xF7
FRAMES = (0xC0, 0xC1, 0xC2, LOSSLESS, JPEG_LS)  # SOF markers that are read
START_OF_JPEG_2000 = b"\xff\x4f\xff\x51"  # SOC, and SIZ that must follow (ITU-T T.800, A.2)


class Codestream(NamedTuple):
    """Of one frame. `transformed`: its decoder gives RGB, for it undoes the codestream's own transform (T.800, G.1)."""

    kind: str  # JPEG, JPEG lossless, JPEG-LS, JPEG 2000
    height: int
    width: int
    samples: int
    bits: int
    signed: bool
    transformed: bool


def described(data: bytes) -> Codestream:
    """Of an encoded frame; Damaged where it has no such header, or is cut off."""
    try:
        start = data.find(START_OF_JPEG_2000, 0, 4096)  # some have the boxes of a JP2 file before
        return _jpeg_2000(data[start:]) if start >= 0 else _jpeg(data)
    except (struct.error, IndexError):
        raise Damaged("a damaged frame") from None


def _jpeg(data: bytes) -> Codestream:
    """ITU-T T.81, B.2; of JPEG-LS ITU-T T.87, C.2."""
    at = 0
    while True:
        while data[at : at + 2] == b"\xff\xff":  # filling
            at += 1
        mark, marker = data[at], data[at + 1]
        if mark != 0xFF or (at == 0) != (marker == SOI):
            raise Damaged("a damaged frame")
        if marker in FRAMES:
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            raise Damaged(f"JPEG of a kind that is not read here (SOF{marker - 0xC0})")
        at += 2 if marker == SOI else 2 + struct.unpack_from(">H", data, at + 2)[0]
    bits, height, width, samples = struct.unpack_from(">BHHB", data, at + 4)
    kind = {LOSSLESS: "JPEG lossless", JPEG_LS: "JPEG-LS"}.get(marker, "JPEG")
    return Codestream(kind, height, width, samples, bits, False, False)


def _jpeg_2000(data: bytes) -> Codestream:
    """ITU-T T.800, A.5.1 and A.6.1."""
    right, lower, left, upper = struct.unpack_from(">4L", data, 8)
    (samples,) = struct.unpack_from(">H", data, 40)
    parts = [struct.unpack_from(">BBB", data, 42 + 3 * i) for i in range(samples)]
    if len(set(parts)) != 1 or parts[0][1:] != (1, 1):
        raise Damaged("JPEG 2000 whose components differ is not read here")
    size, transformed = parts[0][0], False
    at = 4 + struct.unpack_from(">H", data, 4)[0]
    while data[at + 1] != SOT:
        if data[at] != 0xFF:
            raise Damaged("a damaged frame")
        if data[at + 1] == COD:
            transformed = bool(data[at + 8]) and samples >= 3
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    _check_tile_parts(data, at)
    return Codestream(
        "JPEG 2000", lower - upper, right - left, samples, (size & 0x7F) + 1, bool(size & 0x80), transformed
    )


def _check_tile_parts(data: bytes, at: int) -> None:
    """Raises where they do not follow each other to the end (A.4.2): OpenJPEG makes what it can of the rest."""
    while data[at : at + 2] == bytes((0xFF, SOT)):
        (length,) = struct.unpack_from(">L", data, at + 6)
        at = at + length if length else data.rindex(b"\xff\xd9")
        if length and length < 14:
            break
    if at > len(data) or data[at : at + 2] not in (bytes((0xFF, EOC)), b""):
        raise Damaged("a damaged frame")
