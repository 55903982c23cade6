"""What DICOM says that stored values show as: elements, and the formulas of PS3.3 C.7.6.3, C.11.1 and C.11.2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from pydicom.dataset import Dataset


class Shown(NamedTuple):
    """A way to show greys: elements, and the formula of the standard from stored values to shares of brightness; None
    where the whole range counts. `fits`: for which bits, and whether of signed values."""

    elements: Callable[[int, bool, str], dict[str, Any]]
    formula: Callable[[np.ndarray, int, bool], np.ndarray] | None
    fits: Callable[[int, bool], bool] = lambda bits, signed: True


def lowest(bits: int, signed: bool) -> int:
    return -(2 ** (bits - 1)) if signed else 0


def linear(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1."""
    inside = (x - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5
    return np.where(x <= centre - 0.5 - (width - 1) / 2, 0, np.where(x > centre - 0.5 + (width - 1) / 2, 1, inside))


def linear_exact(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.3.2."""
    inside = (x - centre) / width + 0.5
    return np.where(x <= centre - width / 2, 0, np.where(x > centre + width / 2, 1, inside))


def sigmoid(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.3.1."""
    return 1 / (1 + np.exp(np.clip(-4 * (x - centre) / width, -700, 700)))


def window(bits: int, signed: bool) -> tuple[float, float]:
    return lowest(bits, signed) + 2 ** (bits - 1) + 3.0, 2 ** (bits - 1) + 1.0


def windows(**more: Any) -> Callable[[int, bool, str], dict[str, Any]]:
    def elements(bits: int, signed: bool, syntax: str) -> dict[str, Any]:
        centre, width = window(bits, signed)
        return {"WindowCenter": str(centre), "WindowWidth": str(width), **more}

    return elements


def lut(count: int, first: int, bits: int, entries: np.ndarray, syntax: str, as_bytes: bool = False) -> list[Dataset]:
    """A sequence of one LUT; bytes share words, the first of two in the lower half (PS3.5 8.1.1)."""
    item = Dataset()
    item.add_new(0x00283002, "US", [count % 2**16, first % 2**16, bits])
    if as_bytes:
        data = entries.astype(np.uint8).tobytes() + b"\0" * (len(entries) % 2)
        data = np.frombuffer(data, "<u2").astype(">u2" if syntax == "big endian" else "<u2").tobytes()
    else:
        data = entries.astype(">u2" if syntax == "big endian" else "<u2").tobytes()
    item.add_new(0x00283006, "OW", data)
    return [item]


def curve(count: int, top: int) -> np.ndarray:
    """No straight line, so that a LUT that is ignored shows."""
    return np.rint((np.arange(count) / (count - 1)) ** 2 * top).astype(np.int64)


def entries_at(x: np.ndarray, first: float, entries: np.ndarray) -> np.ndarray:
    return entries[np.clip(np.rint(x - first), 0, len(entries) - 1).astype(int)]


def voi(top_bits: int, told: int, as_bytes: bool = False, short: int = 0) -> Shown:
    """A VOI LUT of entries of `top_bits`, whose descriptor tells others."""

    def table(bits: int) -> np.ndarray:
        return curve(2 ** min(bits, 15) - short, 2**top_bits - 1)

    return Shown(
        lambda bits, signed, syntax: {"VOILUTSequence": lut(len(table(bits)), lowest(bits, signed), told, table(bits),
                                                            syntax, as_bytes)},
        lambda x, bits, signed: entries_at(x, lowest(bits, signed), table(bits)) / (2**top_bits - 1),
    )  # fmt: skip


def modality(top_bits: int, told: int, as_bytes: bool = False) -> Shown:
    """A modality LUT, and a window on what it makes."""
    centre, width = 2.0 ** (top_bits - 1), 2.0 ** (top_bits - 1) + 1

    def elements(bits: int, signed: bool, syntax: str) -> dict[str, Any]:
        table = curve(2 ** min(bits, 15), 2**top_bits - 1)
        sequence = lut(len(table), lowest(bits, signed), told, table, syntax, as_bytes)
        sequence[0].ModalityLUTType = "US"
        return {"ModalityLUTSequence": sequence, "WindowCenter": str(centre), "WindowWidth": str(width)}

    def formula(x: np.ndarray, bits: int, signed: bool) -> np.ndarray:
        table = curve(2 ** min(bits, 15), 2**top_bits - 1)
        return linear(entries_at(x, lowest(bits, signed), table), centre, width)

    return Shown(elements, formula)


def rescaled(x: np.ndarray) -> np.ndarray:
    return x * 1.5 - 1024


def rescaled_window(bits: int, signed: bool) -> tuple[float, float]:
    return float(rescaled(np.array(lowest(bits, signed) + 2 ** (bits - 1)))), float(2**bits)


def rescaled_voi(bits: int) -> np.ndarray:
    return curve(2 ** min(bits, 14), 4095)
