"""One clip, a DICOM, MP4 or AVI file: what it tells of itself, and its frames one after another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from medtrain import dicom, dicomclip
from medtrain.clipheader import ClipHeader, Region, first_plausible
from medtrain.rawfile import opened
from medtrain.silence import silence

__all__ = ["ClipHeader", "Region", "frames", "header"]

Pixels = NDArray[np.uint8]
# FFmpeg in OpenCV takes its options from the environment alone. Quiet: the ValueError raised here says it once. An
# edit list of MP4 hides frames that the container counts, and a truncated file could not be told from a shortened one.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "ignore_editlist;1")


def header(path: Path) -> ClipHeader:
    """What the file tells of the clip, no frame decoded.

    ValueError says why it is none that can be used: no clip at all, a still image, truncated, fewer or more frames than
    told (DICOM; of a video only decoding shows it), pixels of a kind that is not read. It names no file and quotes
    nothing that the file says of a person.
    """
    if _kind(path) == "DICOM":
        return dicomclip.header(path)
    with _captured(path) as capture:
        return _video_header(capture)


def frames(path: Path, which: Sequence[int] | None = None) -> Iterator[Pixels]:
    """The frames at these positions, ascending from 0 (None: all), each uint8 [H, W, 3] in RGB.

    One frame at a time is in memory, of a deflated DICOM file all of them. Of DICOM and of Motion JPEG only the frames
    asked for are decoded; other codecs must decode all before them. ValueError as of `header`, and for a damaged frame.
    What is after the last of them is not looked at. A video with fewer frames than its container counts is truncated,
    and so is an AVI that leaves frames out (chunks of no bytes), for nothing tells the two apart. Damage inside a frame
    of the codecs that FFmpeg decodes is not seen, because it paints over it and tells nobody.
    """
    if _kind(path) == "DICOM":
        yield from dicomclip.frames(path, which)
        return
    with _captured(path) as capture:
        told = _video_header(capture)
        wanted = range(told.frames) if which is None else which
        if told.colour == "MJPG":
            capture.set(cv2.CAP_PROP_FORMAT, -1)  # the packets as they are: libjpeg-turbo sees damage that FFmpeg hides
        at = 0
        for index in wanted:
            while at <= index:
                if not capture.grab():
                    raise _ends_after(at, told)
                at += 1
            yield _retrieved(capture, told, index)
        if which is None and capture.grab():
            raise ValueError(f"the header says {told.frames} frames, and the data hold more")


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


@contextmanager
def _captured(path: Path) -> Iterator[cv2.VideoCapture]:
    # One thread: what runs clips in parallel has a process for each core. The absolute path: `a:b` is a URL to FFmpeg.
    with silence():
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        if not capture.isOpened():
            raise ValueError("truncated or damaged video: its index cannot be read")
        yield capture
    finally:
        capture.release()


def _video_header(capture: cv2.VideoCapture) -> ClipHeader:
    count, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    if not 1 <= count < 2**31:
        raise ValueError("a video of no frames, or one that does not tell how many it has")
    if count == 1:
        raise ValueError("a still image of one frame, not a clip")
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    return ClipHeader(
        frames=int(count),
        height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        frame_ms=first_plausible([1000 / rate] if rate > 0 else []),
        colour=code.to_bytes(4, "little").decode("latin-1").strip("\0 "),
    )


def _retrieved(capture: cv2.VideoCapture, told: ClipHeader, index: int) -> Pixels:
    """The frame that the capture stands at."""
    decoded, data = capture.retrieve()
    try:
        if told.colour == "MJPG":
            frame: Pixels = simplejpeg.decode_jpeg(np.asarray(data, np.uint8).tobytes(), "RGB")
        else:
            frame = np.asarray(cv2.cvtColor(data, cv2.COLOR_BGR2RGB), np.uint8)
    except (ValueError, cv2.error):
        decoded = False
    if decoded and frame.shape == (told.height, told.width, 3):
        return frame
    raise ValueError(f"frame {index + 1} of {told.frames} is damaged") if capture.grab() else _ends_after(index, told)


def _ends_after(frames: int, told: ClipHeader) -> ValueError:
    what = "truncated or damaged video" if frames else "damaged video, or of a codec (AV1?) that OpenCV cannot decode"
    return ValueError(f"{what}: {frames} of {told.frames} frames can be decoded")
