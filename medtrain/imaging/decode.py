"""The bytes of one image file -> 8-bit pixels, or the reason why it is no image."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from medtrain.imaging import dicom, pixel_limit, png, tiff

Pixels = NDArray[np.uint8]

# OpenCV describes every damaged file on stderr; the ValueError raised here says it once, where the caller wants it.
if hasattr(cv2, "setLogLevel"):
    cv2.setLogLevel(0)
else:  # since OpenCV 5
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

JPEG = b"\xff\xd8\xff"
END_OF_PNG = b"\0\0\0\0IEND\xaeB`\x82"
SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers that begin a frame, ITU-T T.81, table B.1
DCT = frozenset((0xC0, 0xC1, 0xC2))  # of those that can be scaled while they are decoded
PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}


class Header(NamedTuple):
    """What an image file says of itself: pixels across and down, and its mode by Pillow's names (L, RGB, I;16, ...)."""

    width: int
    height: int
    mode: str


def extension(data: bytes) -> str:
    """`jpg`, `png`, `tif` or `dcm` by the first bytes of a file, whatever its name; ValueError for anything else."""
    if data.startswith(JPEG):
        return "jpg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if dicom.is_dicom(data):  # before TIFF: some files are both
        return "dcm"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):  # + is BigTIFF
        return "tif"
    raise ValueError("not a JPEG, PNG, TIFF or DICOM image" if data else "the file is empty")


def decode(data: bytes, at_least: int = 0, colour: bool = False) -> Pixels:
    """The pixels of a JPEG, PNG, TIFF or DICOM file: uint8 [H, W], gray; with `colour` uint8 [H, W, 3] in RGB, whose
    channels are alike where the file is gray.

    With `at_least` a JPEG may come out smaller, both sides still that many pixels or more: its own transform halves
    the image for less than the price of a full decode. Pixels of more than 8 bits are scaled from the file's own range
    to 0..255; alpha is dropped; EXIF rotation and TIFF's Orientation are ignored. ValueError says why a file cannot be
    decoded; damage that decoders paper over (a truncated JPEG reads as an image with a grey bottom) is an error too.
    """
    if data.startswith(JPEG):
        return _decode_jpeg(data, at_least if _may_shrink(data) else 0, colour)
    if extension(data) == "dcm":  # raises for what is no image
        return dicom.read(data, colour)
    told = header(data)
    pixel_limit.check(told.width, told.height)
    return _decode_other(data, colour)


def decode_all(files: Sequence[bytes], at_least: int = 0, colour: bool = False) -> list[Pixels]:
    """`decode` of each file.

    Small JPEGs come faster than one by one, because next to no Python stands between two of them.
    """
    if {data[:3] for data in files} == {JPEG} and all(map(_may_shrink, files)):
        try:
            if colour:
                return [simplejpeg.decode_jpeg(data, "RGB", False, False, at_least, at_least, 2) for data in files]
            return [
                simplejpeg.decode_jpeg(data, "GRAY", False, False, at_least, at_least, 2)[:, :, 0] for data in files
            ]
        except ValueError:
            pass  # decode says why
    return [decode(data, at_least, colour) for data in files]


def header(data: bytes) -> Header:
    """Size and mode without decoding the pixels; ValueError as in `decode`."""
    kind = extension(data)
    if kind == "jpg":
        try:
            height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        except ValueError as error:
            raise _jpeg_fault(error) from None
        return Header(width, height, {"Gray": "L", "CMYK": "CMYK", "YCCK": "CMYK"}.get(colorspace, "RGB"))
    if kind == "dcm":
        return Header(*dicom.header(data))
    return _png_header(data) if kind == "png" else Header(*tiff.header(data))


def _may_shrink(data: bytes) -> bool:
    """Whether a JPEG may be decoded at less than its size: by its own markers it is a DCT of 8 bits. Of another kind
    (lossless) libjpeg-turbo would write past its memory, and end a process that has decoded it whole many a time."""
    at = 2
    with suppress(IndexError):
        while data[at] == 0xFF:
            marker = data[at + 1]
            if marker in SOF:
                return marker in DCT and data[at + 4] == 8
            at += 2 + (data[at + 2] << 8 | data[at + 3])
    return False


def _decode_jpeg(data: bytes, at_least: int, colour: bool) -> Pixels:
    told = header(data)
    pixel_limit.check(told.width, told.height)
    try:
        # By position, because small images make the names cost: accurate transform and upsampling, smallest height
        # and width, smallest factor (reductions by less than 2 decode more slowly than the full size does). Warnings
        # of libjpeg are errors, simplejpeg's default.
        pixels = simplejpeg.decode_jpeg(data, "RGB" if colour else "GRAY", False, False, at_least, at_least, 2)
    except ValueError as error:
        raise _jpeg_fault(error) from None
    return pixels if colour else pixels[:, :, 0]  # type: ignore[no-any-return]


def _jpeg_fault(error: ValueError) -> ValueError:
    reason = str(error)
    if "Premature end" in reason:
        return ValueError("truncated JPEG")
    if "Could not determine" in reason:
        return ValueError("damaged JPEG (no readable header)")
    return ValueError(f"damaged JPEG ({reason})")


def _decode_other(data: bytes, colour: bool) -> Pixels:
    pixels = _read_png(data) if data[:1] == b"\x89" else tiff.read(data)
    if pixels.dtype == np.uint16:
        pixels = _in_8_bits(pixels)
    elif pixels.dtype != np.uint8:
        raise ValueError(f"pixels are {pixels.dtype}; only 8-bit and 16-bit images can be read")
    if (pixels.ndim == 3) == colour:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB if colour else cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]


def _in_8_bits(pixels: NDArray[np.uint16]) -> Pixels:
    """From their own range: the 12 bits of a detector in a 16-bit file would be all but black by the type's."""
    low, high = int(pixels.min()), int(pixels.max())
    alpha = 255 / max(high - low, 1)
    return cv2.convertScaleAbs(pixels, alpha=alpha, beta=-low * alpha)  # type: ignore[return-value]  # to the nearest


def _read_png(data: bytes) -> NDArray[Any]:
    """A PNG at its stored depth, [H, W] or, in RGB, [H, W, 3]."""
    # libpng writes to stderr past OpenCV's log level, so the common damage is found before it gets the file.
    if data.rfind(END_OF_PNG) < 0:
        raise ValueError("truncated PNG")
    if (grey := png.grey(data)) is not None:
        return grey
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if error.code == cv2.Error.STS_NO_MEM:
            raise MemoryError(error.err) from None
        raise ValueError(f"damaged PNG ({error.err})") from None
    if pixels is None:
        raise ValueError("damaged PNG, or a kind that OpenCV cannot read")
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def _png_header(data: bytes) -> Header:
    if data[12:16] != b"IHDR" or len(data) < 26:
        raise ValueError("damaged PNG (no readable header)")
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    mode = PNG_MODES.get(kind, "unknown")
    return Header(width, height, mode if depth <= 8 else "I;16" if mode == "L" else f"{mode};16")
