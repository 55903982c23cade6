"""DICOM clips: the header, and one frame after another as a viewer shows it."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from medtrain.core.regular_files import opened
from medtrain.imaging import dicom, dicom_frame
from medtrain.imaging.dicom_faults import Unusable, unusable
from medtrain.imaging.dicom_frame import COLOURS, Frame
from medtrain.imaging.dicom_lut import coloured, displayed, rescaled, stored_range, unit
from medtrain.imaging.encapsulated import Fragments, frame_bytes, frames_in
from medtrain.imaging.video.header import ClipHeader, Region, first_plausible

Pixels = NDArray[np.uint8]
PIXEL_DATA = (0x7FE0, 0x0010)
FRAME_TIME_VECTOR = 0x00181065


@dataclass(frozen=True)
class _Clip:
    """An opened file: the value of its pixel data begins at `start` of `source`. `parts` are the fragments of each
    frame of an encapsulated one (PS3.5 A.4)."""

    dataset: Any
    source: BinaryIO
    start: int
    vr: str
    frames: int
    parts: list[Fragments]


def header(path: Path) -> ClipHeader:
    """What the file tells; ValueError as of `medtrain.imaging.video.header`."""
    with _opened(path) as clip, unusable("DICOM whose header cannot be read"):
        dataset = clip.dataset
        return ClipHeader(
            frames=clip.frames,
            height=int(dataset.Rows),
            width=int(dataset.Columns),
            frame_ms=first_plausible(_frame_times(dataset)),
            colour=str(dataset.PhotometricInterpretation),
            regions=tuple(_regions(dataset)),
            patient=str(dataset.get("PatientID") or ""),
            study=str(dataset.get("StudyInstanceUID") or ""),
        )


def frames(path: Path, which: Sequence[int] | None = None) -> Iterator[Pixels]:
    """The frames at these positions, uint8 [H, W, 3], and no other is decoded; ValueError as of `video.frames`."""
    with _opened(path) as clip:
        with unusable("DICOM whose colours or window cannot be read"):
            table = _table(clip.dataset)
        for index in range(clip.frames) if which is None else which:
            with unusable(f"frame {index + 1} of {clip.frames} is damaged"):
                frame = _shown(_decoded(clip, index), clip.dataset, table)
            yield frame


@contextmanager
def _opened(path: Path) -> Iterator[_Clip]:
    with opened(path) as file:
        with unusable("DICOM whose header cannot be read"):
            clip = _read(file)
        yield clip


def _read(file: BinaryIO) -> _Clip:
    import pydicom  # a tenth of a second, which nobody else pays
    from pydicom.pixels.utils import get_expected_length
    from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

    dataset = pydicom.dcmread(file, stop_before_pixels=True)
    syntax = dataset.file_meta.TransferSyntaxUID
    source: BinaryIO = file
    if syntax == DeflatedExplicitVRLittleEndian:  # cannot be read from the middle: the one kind that is held as a whole
        file.seek(0)
        data = pydicom.dcmread(file).get("PixelData") or b""
        source, vr, length = BytesIO(data), "OW", len(data)
    else:
        vr, length = _element(file, syntax)
    dicom_frame.check(dataset, syntax)
    told, start = int(dataset.get("NumberOfFrames") or 1), source.tell()
    parts: list[Fragments] = []
    if syntax.is_encapsulated:
        offsets = {*np.frombuffer(dataset.get("ExtendedOffsetTable") or b"", "<u8").tolist()}
        parts, whole = frames_in(source, told, offsets, joined=syntax != RLELossless)
        held = len(parts)
    else:
        frame = get_expected_length(dataset) // told
        there = source.seek(0, 2) - start
        held, whole = min(length, there) // frame, length <= there
    if held != told:
        fault = "the header says" if whole else "truncated DICOM: the header says"
        raise Unusable(f"{fault} {told} frames, and the data hold {held}")
    if told == 1:
        raise Unusable("a still image of one frame, not a clip")
    return _Clip(dataset, source, start, vr, told, parts)


def _element(file: BinaryIO, syntax: Any) -> tuple[str, int]:
    """VR and length of the pixel data, at whose tag the file stands, and then at its value (PS3.5 7.1)."""
    order = "<" if syntax.is_little_endian else ">"
    head = file.read(8)
    if len(head) < 8 or struct.unpack(f"{order}HH", head[:4]) != PIXEL_DATA:
        raise Unusable("it has no pixel data")
    if syntax.is_implicit_VR:
        return "OW", struct.unpack(f"{order}L", head[4:])[0]
    return head[4:6].decode(), struct.unpack(f"{order}L", file.read(4))[0]


def _decoded(clip: _Clip, index: int) -> Frame:
    if clip.parts:
        return dicom_frame.encapsulated(frame_bytes(clip.source, clip.parts[index]), clip.dataset)
    clip.source.seek(clip.start)
    return dicom_frame.native(clip.source, index, clip.dataset, clip.vr)


def _table(dataset: Any) -> Pixels | None:
    """What each stored value looks like, from the lowest: uint8 [values] or, of a palette, [values, 3] in RGB. None of
    colours. The same for all frames: without a window the whole range of BitsStored counts, not that of one frame."""
    kind, possible = str(dataset.PhotometricInterpretation), stored_range(dataset)
    if kind in COLOURS:
        return None
    # Unsigned values may have more bits than BitsStored says.
    end = possible.highest + 1 if dataset.PixelRepresentation else 2 ** int(dataset.BitsAllocated)
    values = np.arange(possible.lowest, end)
    if kind == "PALETTE COLOR":
        return dicom.as_bytes(coloured(values, dataset))
    shown = rescaled(values, dataset)
    shares = displayed(shown, dataset)
    if shares is None:
        inside = shown[: int(possible.highest - possible.lowest) + 1]
        shares = unit(shown, inside.min(), inside.max())
    return dicom.as_bytes(1 - shares if kind == "MONOCHROME1" else shares)


def _shown(frame: Frame, dataset: Any, table: Pixels | None) -> Pixels:
    pixels: NDArray[Any]
    if table is not None:
        places = frame.values.astype(np.int64) - int(stored_range(dataset).lowest)
        pixels = np.take(table, places, axis=0, mode="clip")
        pixels[frame.padding] = 0
    elif frame.values.dtype == np.uint8 and frame.bits == 8:
        pixels = np.require(frame.values, np.uint8, "W")  # what masks a clip writes into it
    else:
        pixels = dicom.as_bytes(unit(frame.values, 0, 2**frame.bits - 1))
    rgb = np.asarray(pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
    if rgb.shape != (dataset.Rows, dataset.Columns, 3):
        raise ValueError("a frame of another kind than the header says")
    return rgb


def _frame_times(dataset: Any) -> Iterator[float]:
    """In ms, the most trustworthy first (PS3.3 C.7.6.5); an empty or unreadable one is left out."""
    names = ["FrameTime", "FrameTimeVector"]
    pointer = dataset.get("FrameIncrementPointer")
    if FRAME_TIME_VECTOR in np.atleast_1d(pointer):
        names.reverse()
    for name in (*names, "CineRate", "RecommendedDisplayFrameRate"):
        try:
            value = np.atleast_1d(np.asarray(dataset.get(name), float))
        except (TypeError, ValueError):
            continue
        if name == "FrameTimeVector":
            value = np.median(value[1:], keepdims=True) if value.size > 1 else value[:0]  # the first is 0
        if value.size and not np.isnan(value[0]):
            yield float(value[0]) if name in names else 1000 / float(value[0]) if value[0] else 0.0


def _regions(dataset: Any) -> Iterator[Region]:
    """The ultrasound regions (PS3.3 C.8.5.5); one that lacks a corner or a type is no help."""
    names = ("MinX0", "MinY0", "MaxX1", "MaxY1")
    for item in dataset.get("SequenceOfUltrasoundRegions") or ():
        values = [item.get(f"RegionLocation{name}") for name in names]
        values += [item.get("RegionDataType"), item.get("RegionSpatialFormat")]
        if all(isinstance(value, int) for value in values):
            yield Region(*values)
