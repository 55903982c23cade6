"""Grey pixels -> the bytes of an image file in a shard, at the size that training needs."""

from __future__ import annotations

import cv2
import simplejpeg

from medtrain.decode import Pixels
from medtrain.dicom import RULE

QUALITY = 95  # of a JPEG
# About how many bytes a pixel takes, to cut shards by; noisy X-rays are at the upper end.
BYTES_A_PIXEL = {"jpeg": 0.3, "tiff": 0.8}


def encode(pixels: Pixels, encoding: str, size: int) -> bytes:
    """uint8 [H, W] -> a JPEG or a lossless TIFF whose shorter side has `size` pixels (0: as it is); nothing grows.

    Shrunk by areas: every pixel of the source counts, so that no fine structure turns into another by aliasing.
    """
    shorter = min(pixels.shape)
    if 0 < size < shorter:
        height, width = (max(1, round(side * size / shorter)) for side in pixels.shape)
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    if encoding == "jpeg":
        return simplejpeg.encode_jpeg(pixels[:, :, None], quality=QUALITY, colorspace="GRAY")  # type: ignore[no-any-return]
    done, data = cv2.imencode(".tiff", pixels)
    if not done:
        raise ValueError("OpenCV could not write it as TIFF")
    return bytes(data)


def rule(encoding: str, size: int) -> str:
    """What was done to the pixels, in words, for the manifest."""
    if encoding == "copy":
        return "the files as they are, without comments, EXIF and the like"
    shrunk = f"; shrunk by areas to {size} pixels on the shorter side" if size else ""
    kept = f"JPEG of quality {QUALITY}" if encoding == "jpeg" else "TIFF without loss"
    grey = f"8-bit grey (16-bit pixels from their own range to 0..255, colour by ITU-R BT.601, alpha dropped; {RULE})"
    return f"{grey}{shrunk}; {kept}"
