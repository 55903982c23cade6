"""Stored values of a DICOM file -> what a viewer shows: modality LUT, VOI LUT or window, palette (PS3.3 C.11, C.7.6.3).

One rule for stills and clips. LUTs are not applied by pydicom: it takes their descriptors by the letter, and writers
do not.
"""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medtrain.imaging.dicom_faults import Damaged

Shares = NDArray[np.float64]  # of full brightness, 0..1
DEPTHS = (8, 10, 12, 14, 16)  # that devices have
COLOURS = ("Red", "Green", "Blue")


class Range(NamedTuple):
    """The lowest and the highest value that there can be."""

    lowest: float
    highest: float


class Table(NamedTuple):
    """A LUT: the first value that it maps, what it and the following ones become, and how many bits those have."""

    first: int
    entries: NDArray[np.int64]
    bits: int

    def of(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Values below the first become the first entry, those above the last become the last (C.11.2.1.1)."""
        place = np.rint(values).astype(np.int64) - self.first
        return np.asarray(self.entries[np.clip(place, 0, len(self.entries) - 1)])

    def shares(self, values: NDArray[Any]) -> Shares:
        """The same of full brightness."""
        return unit(self.of(values), 0, 2**self.bits - 1)


def stored_range(dataset: Any) -> Range:
    """By Bits Stored and Pixel Representation."""
    bits = int(dataset.BitsStored)
    return Range(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dataset.PixelRepresentation else Range(0, 2**bits - 1)


def rescaled(values: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """By the modality LUT, or by slope and intercept (PS3.3 C.11.1)."""
    table = _first_table(dataset, "ModalityLUTSequence", stored_range(dataset))
    if table:
        return table.of(values)
    slope, intercept = _number(dataset.get("RescaleSlope")), _number(dataset.get("RescaleIntercept"))
    if slope in (None, 0.0, 1.0) and not intercept:
        return values
    return np.asarray(values * (slope or 1.0) + (intercept or 0.0))


def displayed(values: NDArray[Any], dataset: Any) -> Shares | None:
    """Rescaled values as shares of brightness by the first VOI LUT, or by the first window that has numbers (PS3.3
    C.11.2); None where there is neither."""
    ends = rescaled(np.array(stored_range(dataset)), dataset)
    modality = _first_table(dataset, "ModalityLUTSequence", stored_range(dataset))
    possible = modality.entries if modality else ends
    table = _first_table(dataset, "VOILUTSequence", Range(float(possible.min()), float(possible.max())))
    if table:
        return table.shares(values)
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip()
    for centre, width in zip(_several(dataset.get("WindowCenter")), _several(dataset.get("WindowWidth")), strict=False):
        if centre is not None and width is not None and (width > 0 if function != "LINEAR" else width >= 1):
            return _windowed(values, centre, width, function)
    return None


def coloured(indices: NDArray[Any], dataset: Any) -> Shares:
    """Through the palette (PS3.3 C.7.6.3.1.5 and C.7.6.3.1.6): [..., 3] of indices [...]."""
    tables = [_palette(dataset, colour) for colour in COLOURS]
    bits = max(table.bits for table in tables)
    return np.stack([table._replace(bits=bits).shares(indices) for table in tables], -1)


def unit(values: NDArray[Any], low: float, high: float) -> Shares:
    """Values as shares of the way from low to high, none outside of 0..1."""
    if high <= low:
        return np.zeros(values.shape)
    return np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)


def _first_table(dataset: Any, name: str, mapped: Range) -> Table | None:
    for item in dataset.get(name) or ():
        if "LUTData" in item and item.get("LUTDescriptor") is not None:
            data = item["LUTData"]
            return _table(item.LUTDescriptor, data.value, data.VR, _is_little(dataset), mapped)
    return None


def _palette(dataset: Any, colour: str) -> Table:
    descriptor = dataset[f"{colour}PaletteColorLookupTableDescriptor"].value
    plain = dataset.get(f"{colour}PaletteColorLookupTableData")
    if plain is not None:
        vr = dataset[f"{colour}PaletteColorLookupTableData"].VR
        return _table(descriptor, plain, vr, _is_little(dataset), stored_range(dataset))
    from pydicom.pixels.processing import _expand_segmented_lut

    data = dataset[f"Segmented{colour}PaletteColorLookupTableData"].value  # C.7.9.2
    order, code = "<" if _is_little(dataset) else ">", "B" if int(descriptor[2]) == 8 else "H"
    if code == "B" and order == ">":
        data = _swapped(data)
    parts = struct.unpack(f"{order}{len(data) // struct.calcsize(code)}{code}", data)
    entries = np.array(_expand_segmented_lut(parts, f"{order}{code}"), "<u2")
    return _table(descriptor, entries.tobytes(), "OW", True, stored_range(dataset))


def _is_little(dataset: Any) -> bool:
    return bool(dataset.file_meta.TransferSyntaxUID.is_little_endian)


def _table(descriptor: Any, data: Any, vr: str, little: bool, mapped: Range) -> Table:
    count, first, bits = (int(number) & 0xFFFF for number in descriptor)
    entries = _entries(data, count or 2**16, vr, little)
    return Table(_first_mapped(first, len(entries), mapped), entries, _bits_in_use(entries, bits))


def _first_mapped(first: int, count: int, mapped: Range) -> int:
    """The descriptor's second value is signed where the values that it maps are, whatever its VR says (C.11.2.1.1):
    of its two readings the one that meets more of the values that there can be."""

    def meets(start: int) -> float:
        return min(start + count - 1, mapped.highest) - max(start, mapped.lowest)

    below = first - 2**16
    return below if first >= 2**15 and mapped.lowest < 0 and meets(below) >= meets(first) else first


def _entries(data: Any, count: int, vr: str, little: bool) -> NDArray[np.int64]:
    """A LUT's data, by their length words or bytes (C.7.6.3.1.5, and C.11.1.1.1 in older editions); a padding byte may
    follow. Two bytes share a word, the first in its lower half (PS3.5 8.1.1)."""
    if not isinstance(data, bytes):  # VR US or SS: numbers already
        words = np.atleast_1d(np.asarray(data, np.int64)) & 0xFFFF
        data, little = words.astype("<u2").tobytes(), True
    if len(data) >= 2 * count:
        return np.frombuffer(data, "<u2" if little else ">u2", count).astype(np.int64)
    if len(data) < count:
        raise Damaged(f"a lookup table of {count} entries has but {len(data)} bytes")
    if not little and vr != "OB":
        data = _swapped(data)
    return np.frombuffer(data, np.uint8, count).astype(np.int64)


def _swapped(data: bytes) -> bytes:
    return np.frombuffer(data[: len(data) // 2 * 2], "<u2").byteswap().tobytes()


def _bits_in_use(entries: NDArray[np.int64], told: int) -> int:
    """16 where fewer are in use is what many devices write of 8 or 12 (viewers take the bits in use, dicom-rs #825); a
    smaller number is meant so, unless an entry does not fit."""
    used = int(entries.max()).bit_length()
    if 1 <= told < 16:
        return max(told, used)
    return next(depth for depth in DEPTHS if depth >= used)


def _windowed(values: NDArray[Any], centre: float, width: float, function: str) -> Shares:
    """The functions of PS3.3 C.11.2.1.2 and C.11.2.1.3; a linear window of width 1 is a step."""
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-4 * (values.astype(np.float64) - centre) / width)))
    low, high = centre - width / 2, centre + width / 2
    if function != "LINEAR_EXACT":
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    return unit(values, low, high) if high > low else np.asarray(values > low, np.float64)


def _several(value: Any) -> list[float | None]:
    """The numbers of an element, None for each that is empty."""
    if value is None or isinstance(value, str | int | float):
        return [_number(value)]
    return [_number(each) for each in value]


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    number = float(value)
    return number if math.isfinite(number) else None
