"""One clip, a DICOM, MP4 or AVI file: what it tells of itself, and its frames one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medtrain.core.regular_files import opened
from medtrain.imaging import dicom
from medtrain.imaging.video import dicom_clip, media_file
from medtrain.imaging.video.header import ClipHeader, Region

__all__ = ["ClipHeader", "Region", "frames", "header"]

Pixels = NDArray[np.uint8]


def header(path: Path) -> ClipHeader:
    """What the file tells of the clip, no frame decoded (of an MP4 the first, which knows how it is turned).

    ValueError says why it is none that can be used: no clip at all, a still image, truncated, fewer or more frames than
    told (DICOM; of a video only decoding shows it), pixels of a kind that is not read. It names no file and quotes
    nothing that the file says of a person.
    """
    kind = _kind(path)
    return dicom_clip.header(path) if kind == "DICOM" else media_file.header(path, kind)


def frames(path: Path, which: Sequence[int] | None = None) -> Iterator[Pixels]:
    """The frames at these positions, ascending from 0 (None: all), each uint8 [H, W, 3] in RGB.

    One frame at a time is in memory, of a deflated DICOM file all of them. Of DICOM and of Motion JPEG only the frames
    asked for are decoded; other codecs must decode all before them. ValueError as of `header`, and for a damaged frame.
    What is after the last of them is not looked at. A video with fewer frames than its container counts is truncated,
    and so is an AVI that leaves frames out (chunks of no bytes), for nothing tells the two apart.
    """
    kind = _kind(path)
    yield from dicom_clip.frames(path, which) if kind == "DICOM" else media_file.frames(path, kind, which)


def _kind(path: Path) -> str:
    """`DICOM`, `MP4` or `AVI` by the first bytes: FFmpeg would take a text for a video, and a picture for one frame."""
    with opened(path) as file:
        head = file.read(132)
    if dicom.is_dicom(head):
        return "DICOM"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):  # ISO 14496-12, and QuickTime before it
        return "MP4"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "AVI"
    raise ValueError("not a clip: neither DICOM, MP4 nor AVI" if head else "the file is empty")
