"""Intervals where every resample of a bootstrap gives the same number: one without a width says nothing.

Of a share that is 0 or 1 there is the exact one of Clopper and Pearson (Biometrika, 1934); of any other number none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.metrics.numbers import Floats, plain

LEVEL = 0.95
ROUNDING = 1e-9  # resamples that differ by less are alike
ALIKE = "every resample of the patients gives the same"


def has_width(low: float, high: float) -> bool:
    """Whether two ends are numbers, and apart."""
    return high - low > ROUNDING * max(1.0, abs(high))  # of NaN: no


def known_ends(ends: Sequence[float | None] | None) -> list[float] | None:
    """The ends of an interval as numbers; None where it has none, or, as reports had it before, no width."""
    known = [end for end in ends or () if end is not None and not math.isnan(end)]
    return known if len(known) == 2 and has_width(*known) else None


def all_or_none(share: float, trials: int, level: float = LEVEL) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share of independent `trials` that is 1 or 0; NaN for any other share.

    It holds at least `level`, however few the trials are. With images of one patient, the trials are the patients: that
    is right where all images of one are alike, and else the interval is rather too wide (Korn and Graubard, 1998).
    """
    if trials < 1 or min(abs(share), abs(1 - share)) > ROUNDING or math.isnan(share):
        return math.nan, math.nan
    edge = ((1 - level) / 2) ** (1 / trials)
    return (edge, 1.0) if share > 0.5 else (0.0, 1 - edge)


def independent_pairs(groups: NDArray[Any], positive: NDArray[np.bool_]) -> int:
    """How many pairs of a patient with a positive and another one without it can be made of patients `groups` [N], each
    patient in one pair at most: the trials that are behind an AUROC of 1, which says that all are in order."""
    ones, others = np.unique(groups[positive]), np.unique(groups[~positive])
    return min(len(ones), len(others), len(np.union1d(ones, others)) // 2)


def stated(name: str, value: float, ends: Sequence[float] | Floats, trials: int) -> dict[str, Any]:
    """The keys of a report for the interval of its number `name`: `NAME_interval`, and, where the bootstrap's `ends`
    have no width and an exact one stands there, `exact_of`: of how many trials. Of one patient there is none."""
    low, high = ends
    if has_width(low, high):
        return {f"{name}_interval": [plain(low), plain(high)]}
    exact = all_or_none(value, trials) if trials > 1 else (math.nan, math.nan)
    told = {f"{name}_interval": [plain(end) for end in exact]}
    return told if math.isnan(exact[0]) else {**told, "exact_of": {name: trials}}


def exact_of(report: Mapping[str, Any], name: str) -> int:
    """Of how many trials the interval of a number is the exact one; 0 where it is that of a bootstrap."""
    return int(report.get("exact_of", {}).get(name, 0))


def interval_words(report: Mapping[str, Any], name: str) -> str:
    """The interval of a report's number in brackets, or why it has none; nothing where no interval was computed."""
    if f"{name}_interval" not in report:
        return ""
    ends = known_ends(report[f"{name}_interval"])
    if ends is None:
        return f" (no 95 % interval: {ALIKE})"
    exact = ", exact" if exact_of(report, name) else ""
    return f" (95 % interval {ends[0]:.4f} to {ends[1]:.4f}{exact})"
