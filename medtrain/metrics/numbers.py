"""Metrics as plain numbers for JSON: an undefined one is None and counts in no mean."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def ratio(part: Any, whole: Any) -> float:
    """`part / whole`; NaN of nothing."""
    return float(part / whole) if whole else math.nan


def mean_of_defined(values: Floats) -> float:
    """The mean of `values` [N] without those that are NaN; NaN if all are."""
    return ratio(np.nansum(values), np.count_nonzero(~np.isnan(values)))


def plain(value: Any) -> int | float | None:
    """A number as JSON takes it; None for NaN, which it has not."""
    return None if math.isnan(value) else np.asarray(value).item()


def check(name: str, wrong: ArrayLike, values: NDArray[Any], expected: str) -> None:
    """Raise a ValueError that names the first place where `wrong` is set."""
    if np.any(wrong):
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"{name}[{', '.join(map(str, where))}] is {values[where]}; expected {expected}")
