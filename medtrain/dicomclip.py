"""DICOM clips: the header, and one frame after another as a viewer shows it."""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from medtrain import dicom, pixellimit
from medtrain.clipheader import ClipHeader, Region, first_plausible
from medtrain.encapsulated import Fragments, frame_bytes, frames_in
from medtrain.rawfile import opened
from medtrain.silence import silence

Pixels = NDArray[np.uint8]
PIXEL_DATA = (0x7FE0, 0x0010)
GREYS = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
FRAME_TIME_VECTOR = 0x00181065
# An Adobe marker that says RGB: without any libjpeg takes three components for YCbCr. A JFIF or Adobe marker of the
# frame's own still wins over it, and is right where it contradicts the header.
SAYS_RGB = bytes.fromhex("ffee000e41646f626500640000000000")


class _Unusable(ValueError):
    """A reason in our own words. Those of pydicom may quote what the file says of a person, and go no further."""


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
    """What the file tells; ValueError as of `medtrain.video.header`."""
    with _opened(path) as clip, _unusable("DICOM whose header cannot be read"):
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
        with _unusable("DICOM whose colours or window cannot be read"):
            table = _table(clip.dataset)
        for index in range(clip.frames) if which is None else which:
            with _unusable(f"frame {index + 1} of {clip.frames} is damaged"):
                frame = _shown(_decoded(clip, index), clip.dataset, table)
            yield frame


@contextmanager
def _unusable(reason: str) -> Iterator[None]:
    """Whatever pydicom and its decoders raise here becomes `reason`, and they warn of nothing."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (MemoryError, _Unusable):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk: pydicom's own have no number
            raise
        raise _Unusable(reason) from None


@contextmanager
def _opened(path: Path) -> Iterator[_Clip]:
    with opened(path) as file:
        with _unusable("DICOM whose header cannot be read"):
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
    _check(dataset, syntax)
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
        raise _Unusable(f"{fault} {told} frames, and the data hold {held}")
    if told == 1:
        raise _Unusable("a still image of one frame, not a clip")
    return _Clip(dataset, source, start, vr, told, parts)


def _element(file: BinaryIO, syntax: Any) -> tuple[str, int]:
    """VR and length of the pixel data, at whose tag the file stands, and then at its value (PS3.5 7.1)."""
    order = "<" if syntax.is_little_endian else ">"
    head = file.read(8)
    if len(head) < 8 or struct.unpack(f"{order}HH", head[:4]) != PIXEL_DATA:
        raise _Unusable("it has no pixel data")
    if syntax.is_implicit_VR:
        return "OW", struct.unpack(f"{order}L", head[4:])[0]
    return head[4:6].decode(), struct.unpack(f"{order}L", file.read(4))[0]


def _check(dataset: Any, syntax: Any) -> None:
    """Raises where pixels are of a kind that is not read here."""
    from pydicom.pixels.decoders.base import get_decoder

    try:
        known = get_decoder(syntax).is_available
    except NotImplementedError:
        known = False
    if not known:
        raise _Unusable(f"its transfer syntax ({syntax.name}) is not one that can be decoded here")
    colour, samples = str(dataset.PhotometricInterpretation), int(dataset.SamplesPerPixel)
    if colour not in (*COLOURS, *GREYS, "PALETTE COLOR"):  # it is not quoted: in a damaged file it may be anything
        raise _Unusable("its photometric interpretation is not one that can be read here")
    if samples != (3 if colour in COLOURS else 1):
        raise _Unusable(f"{samples} samples per pixel of {colour} are not what can be read here")
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    if allocated not in (8, 16) or not 1 <= stored <= allocated or (colour in COLOURS[1:] and stored != 8):
        raise _Unusable(f"{colour} of {stored} bits in {allocated} is not what can be read here")
    if int(dataset.Rows) < 1 or int(dataset.Columns) < 1 or int(dataset.get("NumberOfFrames") or 1) < 1:
        raise _Unusable("a clip of no pixels")
    try:
        pixellimit.check(int(dataset.Columns), int(dataset.Rows))
    except ValueError as error:
        raise _Unusable(str(error)) from None


def _decoded(clip: _Clip, index: int) -> NDArray[Any]:
    """[H, W] or [H, W, 3], YBR already turned to RGB."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import as_pixel_options
    from pydicom.uid import JPEGBaseline8Bit

    dataset, syntax = clip.dataset, clip.dataset.file_meta.TransferSyntaxUID
    decode: Any = get_decoder(syntax).as_array
    options = as_pixel_options(dataset, pixel_keyword="PixelData", pixel_vr=clip.vr, raw=True)
    options.pop("extended_offsets", None)
    if not clip.parts:
        clip.source.seek(clip.start)
        frame, now = decode(clip.source, index=index, **options)
    else:
        data = frame_bytes(clip.source, clip.parts[index])
        if syntax == JPEGBaseline8Bit:
            return _baseline(data, dataset)
        options["number_of_frames"] = 1
        with silence() as said:
            frame, now = decode(encapsulate([data]), index=0, **options)
        if b"Corrupt JPEG data" in said[0]:  # of JPEG lossless GDCM makes what it can, and tells nobody else
            raise ValueError("a damaged frame")
    if not now["photometric_interpretation"].startswith("YBR_FULL"):
        return np.asarray(frame)
    return cv2.cvtColor(np.ascontiguousarray(frame[:, :, (0, 2, 1)]), cv2.COLOR_YCrCb2RGB)


def _baseline(data: bytes, dataset: Any) -> Pixels:
    """By libjpeg-turbo, whose warnings are errors here: GDCM and Pillow fill what is missing with grey."""
    grey = int(dataset.SamplesPerPixel) == 1
    # GDCM writes YCbCr and leaves RGB in the header; its subsampling gives it away, which only colour components have.
    if dataset.PhotometricInterpretation == "RGB" and simplejpeg.decode_jpeg_header(data)[3] == "444":
        data = data[:2] + SAYS_RGB + data[2:]
    frame: Pixels = simplejpeg.decode_jpeg(data, "GRAY" if grey else "RGB")
    if frame.shape[:2] != (dataset.Rows, dataset.Columns):
        raise ValueError("a frame of another size")
    return frame[:, :, 0] if grey else frame


def _table(dataset: Any) -> Pixels | None:
    """What each stored value looks like, from the lowest: uint8 [2 ** bits] or, of a palette, [2 ** bits, 3] in RGB.
    None where that is the value itself."""
    from pydicom.pixels.processing import apply_color_lut

    colour, bits = str(dataset.PhotometricInterpretation), int(dataset.BitsStored)
    if colour in GREYS:
        return dicom.grey_table(dataset)
    if colour != "PALETTE COLOR":
        return None if bits == 8 else np.rint(np.arange(2**bits) * (255 / (2**bits - 1))).astype(np.uint8)
    entries = apply_color_lut(np.arange(2**bits, dtype=np.uint16), dataset)
    if "RedPaletteColorLookupTableData" in dataset and not dataset.original_encoding[1] and entries.itemsize == 2:
        entries = entries.byteswap()  # pydicom 3.0 takes a plain table for little endian
    # Of 16 bits by the header, but some files hold 8-bit entries in them.
    return np.asarray(entries if entries.max() < 256 else np.rint(entries / 257), np.uint8)


def _shown(frame: NDArray[Any], dataset: Any, table: Pixels | None) -> Pixels:
    if table is not None:
        lowest = -len(table) // 2 if dataset.PixelRepresentation else 0
        frame = np.take(table, frame.astype(np.int32) - lowest, axis=0, mode="clip")
    rgb = np.asarray(frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB))
    if rgb.dtype != np.uint8 or rgb.shape != (dataset.Rows, dataset.Columns, 3):
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
