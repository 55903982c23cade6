"""The bytes of a DICOM file -> 8-bit grey pixels as a viewer shows them; nothing else of the file is ever used."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.imaging import dicom_frame
from medtrain.imaging.dicom_faults import Unusable, unusable
from medtrain.imaging.dicom_frame import Frame
from medtrain.imaging.dicom_lut import Shares, coloured, displayed, rescaled, unit
from medtrain.imaging.encapsulated import frame_bytes, frames_in

Pixels = NDArray[np.uint8]
MARK = b"DICM"  # after a preamble of 128 bytes
END_OF_ITEMS = b"\xfe\xff\xdd\xe0\0\0\0\0"  # the delimiter, which pydicom leaves out
NO_PICTURE = "it has no picture"
RULE = (
    "DICOM: rescaled, VOI LUT or first window by its function (else the whole range) to 0..255, MONOCHROME1 inverted,"
    " padding black"
)


def is_dicom(data: bytes) -> bool:
    """Whether the bytes begin as a DICOM file (PS3.10, 7.1)."""
    return data[128:132] == MARK


def read(data: bytes, colour: bool = False) -> Pixels:
    """uint8 [H, W], with `colour` [H, W, 3] in RGB, of a DICOM file of one frame, in whatever transfer syntax;
    ValueError says why it cannot be read.

    The order of PS3.3 C.11 and PS3.4 N.2: stored values, modality LUT or rescale, VOI LUT or window (of several the
    first), inversion of MONOCHROME1; padding is black. Colour, of a palette too, becomes gray by ITU-R BT.601, or stays
    as it is with `colour`, which repeats what is gray.
    """
    with _told():
        return _read(data, colour)


def header(data: bytes) -> tuple[int, int, str]:
    """Pixels across and down, and how they are stored (`MONOCHROME1 12 bit`), not decoded; ValueError as `read`."""
    with _told():
        dataset = _open(data, stop_before_pixels=True)
        if "BitsStored" not in dataset:
            raise Unusable(NO_PICTURE)
        colour = str(dataset.PhotometricInterpretation)
        mode = f"{colour if colour in dicom_frame.KINDS else 'unknown'} {int(dataset.BitsStored)} bit"
        return int(dataset.Columns), int(dataset.Rows), mode


@contextmanager
def _told() -> Iterator[None]:
    """Why a file cannot be read, as far as that is told in our own words."""
    try:
        with unusable(""):
            yield
    except Unusable as error:
        raise ValueError("DICOM that cannot be read" + (f" ({error})" if str(error) else "")) from None


def _open(data: bytes, **options: Any) -> Any:
    import pydicom  # a tenth of a second, which nobody else pays

    return pydicom.dcmread(io.BytesIO(data), **options)


def _read(data: bytes, colour: bool) -> Pixels:
    dataset = _open(data)
    if "PixelData" not in dataset:
        raise Unusable(NO_PICTURE)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise Unusable(f"it has {frames} frames, not one")
    syntax = dataset.file_meta.TransferSyntaxUID
    dicom_frame.check(dataset, syntax)
    frame = _encapsulated(dataset) if syntax.is_encapsulated else _native(dataset)
    colours = _colours(frame, dataset)
    if colour:
        return as_bytes(np.repeat(_greys(frame, dataset)[..., None], 3, 2) if colours is None else colours)
    return as_bytes(_greys(frame, dataset) if colours is None else colours @ (0.299, 0.587, 0.114))


def _native(dataset: Any) -> Frame:
    from pydicom.pixels.utils import get_expected_length

    if (held := len(dataset.PixelData)) < (whole := get_expected_length(dataset)):
        raise Unusable(f"its picture is cut off: {held:,} of {whole:,} bytes")
    return dicom_frame.native(dataset.PixelData, 0, dataset, dataset["PixelData"].VR)


def _encapsulated(dataset: Any) -> Frame:
    source = io.BytesIO(dataset.PixelData + END_OF_ITEMS)
    parts, whole = frames_in(source, 1, set(), joined=True)
    if not parts or not whole:
        raise Unusable("its compressed picture is cut off")
    return dicom_frame.encapsulated(frame_bytes(source, [part for each in parts for part in each]), dataset)


def _colours(frame: Frame, dataset: Any) -> Shares | None:
    """[H, W, 3] of a colour picture or a palette; None of a grey one."""
    if frame.values.ndim == 3:
        return unit(frame.values, 0, 2**frame.bits - 1)
    return coloured(frame.values, dataset) if dataset.PhotometricInterpretation == "PALETTE COLOR" else None


def _greys(frame: Frame, dataset: Any) -> Shares:
    values = rescaled(frame.values, dataset)
    shares = displayed(values, dataset)
    if shares is None:  # the whole range of the picture
        inside = values[~frame.padding]
        shares = unit(values, inside.min(), inside.max()) if inside.size else np.zeros(values.shape)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shares = 1 - shares
    shares[frame.padding] = 0
    return shares


def as_bytes(shares: Shares) -> Pixels:
    """Shares of full brightness as uint8."""
    return np.asarray(np.rint(shares * 255), np.uint8)
