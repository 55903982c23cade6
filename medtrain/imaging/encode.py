"""Pixels -> the bytes of an image file in a shard, at the size that training needs."""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg

from medtrain.imaging.decode import Pixels
from medtrain.imaging.dicom import RULE

QUALITY = 95  # of a JPEG
# About how many bytes a pixel takes in gray, to cut shards by; noisy X-rays are at the upper end.
BYTES_A_PIXEL = {"jpeg": 0.3, "tiff": 0.8}


def encode(pixels: Pixels, encoding: str, size: int) -> bytes:
    """uint8 [H, W] or, in RGB, [H, W, 3] -> a JPEG or a lossless TIFF whose shorter side has `size` pixels (0: as it
    is); nothing grows.

    Shrunk by areas: every pixel of the source counts, so that no fine structure turns into another by aliasing.
    """
    shorter = min(pixels.shape[:2])
    if 0 < size < shorter:
        height, width = (max(1, round(side * size / shorter)) for side in pixels.shape[:2])
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    if encoding == "jpeg":
        # Colors at full resolution (4:4:4): fine vessels and small stains are told by them.
        pixels, kind = (pixels[:, :, None], "GRAY") if pixels.ndim == 2 else (pixels, "RGB")
        return simplejpeg.encode_jpeg(pixels, QUALITY, kind, "444")  # type: ignore[no-any-return]
    done, data = cv2.imencode(".tiff", pixels if pixels.ndim == 2 else pixels[:, :, ::-1])
    if not done:
        raise ValueError("OpenCV could not write it as TIFF")
    return bytes(data)


def squared(frame: Pixels, side: int, grey: bool) -> Pixels:
    """A frame uint8 [h, w, 3] scaled so that its longer side has `side` pixels, in the middle of a black square of that
    side: uint8 [side, side], or [side, side, 3] in RGB. Shrunk by areas; grey by ITU-R BT.601."""
    height, width = frame.shape[:2]
    longer = max(height, width)
    tall, wide = (max(1, round(length * side / longer)) for length in (height, width))
    how = cv2.INTER_AREA if longer > side else cv2.INTER_LINEAR
    scaled = cv2.resize(frame, (wide, tall), interpolation=how)
    if grey:
        scaled = cv2.cvtColor(scaled, cv2.COLOR_RGB2GRAY)
    found = np.zeros((side, side, *scaled.shape[2:]), np.uint8)
    top, left = (side - tall) // 2, (side - wide) // 2
    found[top : top + tall, left : left + wide] = scaled
    return found


def rule(encoding: str, size: int, rgb: bool = False) -> str:
    """What was done to the pixels of images, in words, for the manifest."""
    if encoding == "copy":
        return "the files as they are, without comments, EXIF and the like" + ("; read in RGB" if rgb else "")
    shrunk = f"; shrunk by areas to {size} pixels on the shorter side" if size else ""
    kept = f"JPEG of quality {QUALITY}" if encoding == "jpeg" else "TIFF without loss"
    kind = ("RGB", "gray in three channels alike") if rgb else ("grey", "colour by ITU-R BT.601")
    depth = f"8-bit {kind[0]} (16-bit pixels from their own range to 0..255, {kind[1]}, alpha dropped; {RULE})"
    return f"{depth}{shrunk}; {kept}"


def clip_rule(colours: str, size: int) -> str:
    """The same for those of clips."""
    return (
        f"8-bit {colours}, cropped to the ultrasound sector, black outside it; {size} pixels on the longer side, in"
        " the middle of a square; TIFF without loss, a page a frame"
    )
