"""The bytes of a DICOM file -> 8-bit grey pixels as a viewer shows them; nothing else of the file is ever used."""

from __future__ import annotations

import io
import logging
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
MARK = b"DICM"  # after a preamble of 128 bytes
RULE = "DICOM: rescaled, VOI LUT or first window (else the whole range) to 0..255, MONOCHROME1 inverted"


def is_dicom(data: bytes) -> bool:
    """Whether the bytes begin as a DICOM file (PS3.10, 7.1)."""
    return data[128:132] == MARK


def read(data: bytes) -> Pixels:
    """uint8 [H, W] of a DICOM file of one frame, in whatever transfer syntax; ValueError says why it cannot be read.

    The order of PS3.3 C.11 and PS3.4 N.2: stored values, modality LUT or rescale, VOI LUT or window (of several the
    first), inversion of MONOCHROME1. Colour becomes grey by ITU-R BT.601.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that break the standard and do not matter here
            return _read(data)
    except Exception as error:  # pydicom and its decoders raise whatever they meet in a damaged file
        raise _fault(error) from None


def header(data: bytes) -> tuple[int, int, str]:
    """Pixels across and down, and how they are stored (`MONOCHROME1 12 bit`), not decoded; ValueError as `read`."""
    try:
        dataset = _open(data, stop_before_pixels=True)
        mode = f"{dataset.PhotometricInterpretation} {dataset.BitsStored} bit"
        return int(dataset.Columns), int(dataset.Rows), mode
    except Exception as error:
        raise _fault(error) from None


def _fault(error: Exception) -> ValueError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"DICOM that cannot be read ({reason})")


def _open(data: bytes, **options: Any) -> Any:
    import pydicom  # a tenth of a second, which nobody else pays

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # tracebacks of what the ValueError says in a line
    return pydicom.dcmread(io.BytesIO(data), **options)


def _read(data: bytes) -> Pixels:
    from pydicom.pixels.processing import apply_modality_lut
    from pydicom.pixels.utils import pixel_array

    dataset = _open(data)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ValueError(f"it has {frames} frames, not one")
    bits = int(dataset.BitsStored)
    if not _has_more_than_pixels(dataset):
        dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
    stored = _of_bits(pixel_array(dataset), bits)
    if stored.ndim == 3:
        grey = stored @ (0.299, 0.587, 0.114)
        return _as_bytes(_unit(grey, 0, 2**bits - 1))
    for name in ("RescaleSlope", "RescaleIntercept"):
        if name in dataset and dataset[name].value is None:  # there, and empty
            del dataset[name]
    shares = _displayed(apply_modality_lut(stored, dataset), dataset)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shares = 1 - shares
    return _as_bytes(shares)


def _of_bits(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Values of so many bits, or of more: BitsStored is too small in some files, and without its highest bits a picture
    is noise. Bits far above, with none between that is ever set, are no part of the picture."""
    if values.min() < 0 or values.max() < 2**bits:
        return values
    above = np.flatnonzero(np.bincount((values >> bits).ravel()))
    return values if len(above) == above[-1] + 1 else values & (2**bits - 1)


def _has_more_than_pixels(dataset: Any) -> bool:
    """Whether the bits above BitsStored are of a sign or an overlay."""
    overlays = (dataset.get((group, 0x0102)) for group in range(0x6000, 0x6020, 2))  # PS3.3 C.9.2, OverlayBitPosition
    return bool(dataset.PixelRepresentation) or any(place is not None and place.value for place in overlays)


def _as_bytes(shares: NDArray[np.float64]) -> Pixels:
    return np.asarray(np.rint(shares * 255), np.uint8)


def _displayed(values: NDArray[Any], dataset: Any) -> NDArray[np.float64]:
    """Values -> shares of full brightness, 0..1."""
    if dataset.get("VOILUTSequence"):  # it may be there, and empty
        from pydicom.pixels.processing import apply_voi

        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return _unit(apply_voi(values.astype(np.int64), dataset), 0, 2**bits - 1)
    centre, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None:  # de-identified files may have the tags without values
        centre, width = float(centre), float(width)
        if width > 1:  # PS3.3 C.11.2.1.2
            return _unit(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)
    return _unit(values, values.min(), values.max())


def _first(value: Any) -> Any:
    """Of a value, or of several; None where there is none."""
    if isinstance(value, str | int | float) or not hasattr(value, "__getitem__"):
        return value if value != "" else None
    return value[0] if len(value) else None


def _unit(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    if high <= low:
        return np.zeros(values.shape)
    return np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
