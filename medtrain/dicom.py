"""The bytes of a DICOM file -> 8-bit grey pixels as a viewer shows them; nothing else of the file is ever used."""

from __future__ import annotations

import io
import logging
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain import pixellimit

Pixels = NDArray[np.uint8]
MARK = b"DICM"  # after a preamble of 128 bytes
RULE = (
    "DICOM: rescaled, VOI LUT or first window by its function (else the whole range) to 0..255, MONOCHROME1 inverted,"
    " padding black"
)


def is_dicom(data: bytes) -> bool:
    """Whether the bytes begin as a DICOM file (PS3.10, 7.1)."""
    return data[128:132] == MARK


def read(data: bytes) -> Pixels:
    """uint8 [H, W] of a DICOM file of one frame, in whatever transfer syntax; ValueError says why it cannot be read.

    The order of PS3.3 C.11 and PS3.4 N.2: stored values, modality LUT or rescale, VOI LUT or window (of several the
    first), inversion of MONOCHROME1; padding is black. Colour, of a palette too, becomes grey by ITU-R BT.601.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that break the standard and do not matter here
            return _read(data)
    except MemoryError:  # no fault of the file
        raise
    except Exception as error:  # pydicom and its decoders raise whatever they meet in a damaged file
        raise _fault(error) from None


def header(data: bytes) -> tuple[int, int, str]:
    """Pixels across and down, and how they are stored (`MONOCHROME1 12 bit`), not decoded; ValueError as `read`."""
    try:
        dataset = _open(data, stop_before_pixels=True)
        if "BitsStored" not in dataset:
            raise ValueError("it has no picture")
        mode = f"{dataset.PhotometricInterpretation} {dataset.BitsStored} bit"
        return int(dataset.Columns), int(dataset.Rows), mode
    except Exception as error:
        raise _fault(error) from None


def grey_table(dataset: Any) -> Pixels:
    """uint8 [2 ** BitsStored]: what a viewer shows for each stored value, from the lowest; the same for all frames.

    As `read`, but without a window the whole range of BitsStored counts, not that of the pixels of one frame.
    """
    bits = int(dataset.BitsStored)
    values = np.arange(2**bits) - (2 ** (bits - 1) if dataset.PixelRepresentation else 0)
    shares = _displayed(_rescaled(values, dataset), np.zeros(values.shape, bool), dataset)
    return _as_bytes(1 - shares if dataset.PhotometricInterpretation == "MONOCHROME1" else shares)


def _fault(error: Exception) -> ValueError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"DICOM that cannot be read ({reason})")


def _open(data: bytes, **options: Any) -> Any:
    import pydicom  # a tenth of a second, which nobody else pays

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # tracebacks of what the ValueError says in a line
    return pydicom.dcmread(io.BytesIO(data), **options)


def _read(data: bytes) -> Pixels:
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    dataset = _open(data)
    if "PixelData" not in dataset:
        raise ValueError("it has no picture")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ValueError(f"it has {frames} frames, not one")
    pixellimit.check(int(dataset.Columns), int(dataset.Rows))
    bits, high = int(dataset.BitsStored), int(dataset.HighBit)
    if not _has_more_than_pixels(dataset):
        dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
    raw = pixel_array(dataset)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        raw, bits = apply_color_lut(raw, dataset), int(dataset.RedPaletteColorLookupTableDescriptor[2])
    if raw.ndim == 3:
        return _as_bytes(_unit(_of_bits(raw, bits) @ (0.299, 0.587, 0.114), 0, 2**bits - 1))
    stored, padding = _of_bits(_aligned(raw, high + 1 - bits), bits), _padding(raw, dataset)
    shares = _displayed(_rescaled(stored, dataset), padding, dataset)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shares = 1 - shares
    shares[padding] = 0
    return _as_bytes(shares)


def _rescaled(values: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """By the modality LUT, or by slope and intercept (PS3.3 C.11.1)."""
    from pydicom.pixels.processing import apply_modality_lut

    for name in ("RescaleSlope", "RescaleIntercept"):
        if name in dataset and dataset[name].value is None:  # there, and empty
            del dataset[name]
    return np.asarray(apply_modality_lut(values, dataset))


def _aligned(values: NDArray[Any], below: int) -> NDArray[Any]:
    """Values without the bits below the lowest that is stored, as the oldest files have them; where they are empty."""
    return values >> below if below > 0 and not (values & (2**below - 1)).any() else values


def _padding(raw: NDArray[Any], dataset: Any) -> NDArray[np.bool_]:
    """Which pixels are none of the picture, but fill its frame (PS3.3 C.7.5.1.1.2): one value, or a range."""
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(raw.shape, bool)
    last = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((first, last if isinstance(last, int) else first))
    return np.asarray((raw >= low) & (raw <= high))


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


def _displayed(values: NDArray[Any], padding: NDArray[np.bool_], dataset: Any) -> NDArray[np.float64]:
    """Values -> shares of full brightness, 0..1."""
    tables = [table for table in dataset.get("VOILUTSequence") or () if "LUTData" in table]
    if tables:
        return _looked_up(values, tables[0], "<u2" if dataset.original_encoding[1] else ">u2")
    centre, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None:  # de-identified files may have the tags without values
        function = str(dataset.get("VOILUTFunction") or "LINEAR").strip()
        if float(width) > (function == "LINEAR"):
            return _windowed(values, float(centre), float(width), function)
    inside = values[~padding]
    return _unit(values, float(inside.min()), float(inside.max())) if inside.size else np.zeros(values.shape)


def _looked_up(values: NDArray[Any], table: Any, words: str) -> NDArray[np.float64]:
    """Through a VOI LUT (PS3.3 C.11.2.1.1). Not by pydicom, whose index is of the entries' type: 8 bits of 4,096."""
    entries, first, bits = (int(number) for number in table.LUTDescriptor)
    data = table.LUTData
    if isinstance(data, bytes):  # of 8 bits, two may share a word
        data = np.frombuffer(data, np.uint8 if len(data) == entries else words)
    brightness = np.asarray(data, np.int64)[: entries or 2**16]
    place = np.clip(np.rint(values).astype(np.int64) - first, 0, len(brightness) - 1)
    return _unit(brightness[place], 0, 2**bits - 1)


def _windowed(values: NDArray[Any], centre: float, width: float, function: str) -> NDArray[np.float64]:
    """The functions of PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values.astype(np.float64) - centre) / width))
    if function == "LINEAR_EXACT":
        return _unit(values, centre - width / 2, centre + width / 2)
    return _unit(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)


def _first(value: Any) -> Any:
    """Of a value, or of several; None where there is none."""
    if isinstance(value, str | int | float) or not hasattr(value, "__getitem__"):
        return value if value != "" else None
    return value[0] if len(value) else None


def _unit(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    if high <= low:
        return np.zeros(values.shape)
    return np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
