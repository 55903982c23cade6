"""The pixels of a grey PNG file, by a decoder twice as fast as the libpng in OpenCV where that is installed."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from medtrain.imaging import png_plain

try:
    from kornia_rs.io import decode_image_png_u8, decode_image_png_u16
except ImportError:  # the extra `fast` is not installed: the same pixels, more slowly
    decode_image_png_u8 = decode_image_png_u16 = png_plain.decode

GREY = 0  # the colour type, beside which stands how deep
DECODERS = {8: decode_image_png_u8, 16: decode_image_png_u16}
DENSEST = 1100  # bytes that deflate makes of one at most, with a margin: a header that says more is not true


def grey(data: bytes) -> NDArray[np.uint8] | NDArray[np.uint16] | None:
    """uint8 or uint16 [H, W] as stored; None for a PNG of another kind, and for one that is not as it should be in any
    way (each chunk has a checksum): another decoder is to read it, or to say what is wrong."""
    try:
        width, height, depth, kind = struct.unpack_from(">IIBB", data, 16)
        if kind != GREY or depth not in DECODERS or not 0 < width * height * depth // 8 < DENSEST * len(data):
            return None
        return DECODERS[depth](data, (height, width), "mono")[:, :, 0]  # type: ignore[no-any-return]
    except Exception:  # struct.error, and what the decoder raises, which has no name of its own
        return None
