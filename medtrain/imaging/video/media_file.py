"""MP4 and AVI clips by FFmpeg, which comes with PyAV: the header, and one frame after another.

Every frame that is stored counts, once and in the order of its time, whatever an edit list hides. A frame whose two
fields are coded by themselves (interlaced) is one frame: its lines as they are stored, the colours of each field from
its own lines. Damage that a codec can tell is an error; some have no checksum (HuffYUV, FFV1 of version 1).

Colours are turned to RGB by the matrix and range that the stream states (ITU-T H.273); where it states none, by ITU-R
BT.601 of limited range, as FFmpeg does and as DICOM's YBR is. More than 8 bits are scaled to 8. Frames stand as a
player shows them: turned and mirrored by the display matrix of ISO 14496-12 (8.3.2) in steps of a right angle. Pixels
that are not square stay as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from medtrain.core.regular_files import opened
from medtrain.imaging import pixel_limit
from medtrain.imaging.video.header import ClipHeader, first_plausible

Pixels = NDArray[np.uint8]
FORMATS = {"MP4": "mp4", "AVI": "avi"}  # as FFmpeg calls them; nothing else is tried, so no text becomes a playlist
BUFFER = 1 << 18  # bytes that are read at a time
# Damage is an error, not painted over; one thread: what runs clips in parallel has a process for each core.
OPTIONS = {"err_detect": "crccheck+explode", "threads": "1"}
UNSPECIFIED, BT601 = 2, 5
MATRICES = (1, UNSPECIFIED, 4, BT601, 6, 7, 9)  # of H.273 table 4 that swscale knows: 709, 47 CFR, 601, 240M, 2020
Turns = tuple[int, int, bool]
AS_IT_IS: Turns = (1, 1, False)
ONE = 1 << 16  # of the fixed-point numbers of a display matrix


def header(path: Path, kind: str) -> ClipHeader:
    """Of a file of a `kind` in FORMATS; ValueError as of `medtrain.imaging.video.header`."""
    with _damage(), _opened(path, kind) as (container, stream):
        told = _told(container, stream)
        if kind == "MP4" and _turns(next(_frames(container, stream, told)))[2]:
            return replace(told, height=told.width, width=told.height)
        return told


def frames(path: Path, kind: str, which: Sequence[int] | None = None) -> Iterator[Pixels]:
    """uint8 [H, W, 3] in RGB, of these positions; ValueError as of `medtrain.imaging.video.frames`."""
    with _damage(), _opened(path, kind) as (container, stream):
        told = _told(container, stream)
        wanted = iter(range(told.frames) if which is None else which)
        jpeg, turns = _is_jpeg(stream), None
        if jpeg and kind == "MP4":
            turns = _turns(next(_frames(container, stream, told)))
            container.seek(0)
        index, at = next(wanted, None), 0
        for picture in _packets(container, stream) if jpeg else _frames(container, stream, told):
            while index == at:
                turns = turns or (AS_IT_IS if kind == "AVI" else _turns(picture))  # the container's: of all frames
                yield _upright(_of_jpeg(picture, told, at) if jpeg else _of_frame(picture, told, at), turns)
                index = next(wanted, None)
            if which is not None and index is None:
                return
            at += 1
            if at > told.frames:
                raise ValueError(f"the header says {told.frames} frames, and the data hold more")
        if index is not None:
            raise _ends_after(at, told)


def versions() -> dict[str, str]:
    """Of what decodes videos: other versions may give other pixels."""
    import av

    return {"PyAV": av.__version__, "FFmpeg": av.ffmpeg_version_info}


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[tuple[Any, Any]]:
    import av  # a quarter of a second, which nobody else pays

    with opened(path) as file:
        with _unusable("truncated or damaged video: its index cannot be read"):
            container = av.open(file, format=FORMATS[kind], options={"ignore_editlist": "1"}, buffer_size=BUFFER)
        with container:
            streams = [one for one in container.streams.video if not one.disposition & one.disposition.attached_pic]
            if not streams:
                raise ValueError("a file without a video")
            stream = streams[0]
            if stream.codec_context is None:
                raise ValueError("a video of a codec that FFmpeg cannot decode")
            stream.codec_context.options = OPTIONS
            yield container, stream


@contextmanager
def _damage() -> Iterator[None]:
    """Whatever PyAV raises of a damaged file is a ValueError: it may hand out None, or errors of the system that nobody
    had. What the disk and our own code raise stays."""
    import av

    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, ValueError | OSError) and not isinstance(error, av.FFmpegError):
            raise
        raise ValueError("truncated or damaged video") from None


@contextmanager
def _unusable(reason: str) -> Iterator[None]:
    """What PyAV raises of a file becomes `reason`; what the disk raises stays."""
    import av

    try:
        yield
    except MemoryError:
        raise
    except OSError as error:
        if not isinstance(error, av.FFmpegError):
            raise
        raise ValueError(reason) from None
    except (ValueError, av.FFmpegError):
        raise ValueError(reason) from None


def _told(container: Any, stream: Any) -> ClipHeader:
    context = stream.codec_context
    pixel_limit.check(context.width, context.height)
    count = stream.frames or sum(1 for _ in _packets(container, stream))  # a file of fragments does not tell
    if not stream.frames:
        container.seek(0)
    if not 1 <= count < 2**31:
        raise ValueError("a video of no frames, or one that does not state how many it has")
    if count == 1:
        raise ValueError("a still image of one frame, not a clip")
    return ClipHeader(
        frames=count,
        height=context.height,
        width=context.width,
        frame_ms=first_plausible(_frame_times(stream)),
        colour=str(context.codec_tag).strip("\0 ") or context.name,
    )


def _frame_times(stream: Any) -> list[float]:
    """In ms: the median of the times that the index tells, as of a DICOM FrameTimeVector, else by the average rate."""
    steps = np.diff([entry.timestamp for entry in stream.index_entries])
    by_index = [float(np.median(steps) * stream.time_base * 1000)] if len(steps) else []
    return [*by_index, *([1000 / float(stream.average_rate)] if stream.average_rate else [])]


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Of a frame each; AVI has some of no bytes, for a frame that was left out."""
    for packet in container.demux(stream):
        if packet.is_corrupt:
            return  # cut off
        if packet.size:
            yield packet


def _frames(container: Any, stream: Any, told: ClipHeader) -> Iterator[Any]:
    """As FFmpeg decodes them."""
    at = 0
    try:
        for packet in _packets(container, stream):
            for frame in packet.decode():
                yield _checked(frame, told, at)
                at += 1
        for frame in stream.codec_context.decode(None):
            yield _checked(frame, told, at)
            at += 1
    except (ValueError, OSError, RuntimeError) as error:
        import av

        if not isinstance(error, av.FFmpegError):
            raise
        raise _ends_after(at, told) from None
    if at == 0:
        raise _ends_after(0, told)


def _checked(frame: Any, told: ClipHeader, at: int) -> Any:
    if frame.is_corrupt:
        raise ValueError(f"frame {at + 1} of {told.frames} is damaged")
    if frame.colorspace not in MATRICES and not frame.format.is_rgb:
        raise ValueError("its colours are coded by a matrix that cannot be read here")
    return frame


def _is_jpeg(stream: Any) -> bool:
    return str(stream.codec_context.name) == "mjpeg"


def _of_jpeg(packet: Any, told: ClipHeader, at: int) -> Pixels:
    """By libjpeg-turbo, which tells of damage that FFmpeg hides."""
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(bytes(packet), "RGB")
    except ValueError:
        raise ValueError(f"frame {at + 1} of {told.frames} is damaged") from None
    return _of_that_size(pixels, told, at)


def _of_frame(frame: Any, told: ClipHeader, at: int) -> Pixels:
    from av.video.reformatter import Interpolation

    with _unusable("its pixels are of a kind that cannot be read here"):
        pixels = frame.to_ndarray(format="rgb24", interpolation=Interpolation.BICUBIC, threads=1)
    return _of_that_size(pixels, told, at)


def _of_that_size(pixels: Pixels, told: ClipHeader, at: int) -> Pixels:
    if pixels.shape != (told.height, told.width, 3):
        raise ValueError(f"frame {at + 1} of {told.frames} is of another size than the header says")
    return pixels


def _upright(pixels: Pixels, turns: Turns) -> Pixels:
    if turns == AS_IT_IS:
        return pixels
    right, down, mirrored = turns
    if mirrored:
        pixels = pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(pixels[::down, ::right])


def _turns(frame: Any) -> Turns:
    """What a player does with a frame: columns and rows change places (the last), then columns and rows run forwards
    (1) or backwards (-1)."""
    data = next((bytes(one) for one in frame.side_data if one.type.name == "DISPLAYMATRIX"), b"")
    if not any(data):
        return AS_IT_IS
    a, b, _, c, d = struct.unpack_from("=5i", data)  # x' = a x + c y, y' = b x + d y
    if abs(a) == abs(d) == ONE and b == c == 0:
        return a // ONE, d // ONE, False
    if abs(b) == abs(c) == ONE and a == d == 0:
        return c // ONE, b // ONE, True
    raise ValueError("its display matrix does more than to turn it by right angles")


def _ends_after(frames: int, told: ClipHeader) -> ValueError:
    what = "truncated or damaged video" if frames else "damaged video, or of a codec that FFmpeg cannot decode"
    return ValueError(f"{what}: {frames} of {told.frames} frames can be decoded")
