"""The difference of one number of two models that were tested on the same patients, and how sure it is."""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

import numpy as np

from medtrain.metrics import student_t
from medtrain.metrics.intervals import has_width
from medtrain.metrics.numbers import Floats

LEVEL = 0.95
EQUIVALENCE_LEVEL = (
    0.90  # two one-sided tests at 5 % hold where this interval lies within the margin (Schuirmann, 1987)
)


class PairedDifference(NamedTuple):
    """`difference` is second - first; NaN where a number is undefined."""

    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    """Of the difference, 95 %."""
    p: float
    """Two-sided, of no difference; never 0."""
    equivalence_interval: tuple[float, float]
    """Of the difference, 90 %."""
    equivalence_p: float
    """Of a difference of the margin or more; NaN without a margin."""


def never_zero(p: float) -> float:
    """A p-value that a float can hold: one that is too small becomes the smallest."""
    return max(p, sys.float_info.min)  # of NaN: NaN


def from_draws(first: float, second: float, drawn: Floats, margin: float = 0.0) -> PairedDifference:
    """By the differences `drawn` [R] in the rounds of a bootstrap, of which those that are NaN are left out.

    Percentile intervals (Efron, 1981), undefined where all rounds give the same difference, and with them equivalence;
    p is twice the smaller share of rounds on one side of 0, the data themselves
    counted as one more round (Davison and Hinkley, 1997), so that it is at least 2 / (R + 1).
    """
    defined = drawn[~np.isnan(drawn)]
    if not len(defined) or math.isnan(second - first):
        return undefined(first, second)

    def share(rounds: int) -> float:
        return (1 + rounds) / (1 + len(defined))

    def within(level: float) -> tuple[float, float]:
        low, high = np.quantile(defined, ((1 - level) / 2, (1 + level) / 2)).tolist()
        return (low, high) if has_width(low, high) else (math.nan, math.nan)

    sides = share(int((defined <= 0).sum())), share(int((defined >= 0).sum()))
    beyond = share(int((defined <= -margin).sum())), share(int((defined >= margin).sum()))
    equivalence = within(EQUIVALENCE_LEVEL)
    return PairedDifference(
        first,
        second,
        second - first,
        within(LEVEL),
        min(1.0, 2 * min(sides)),
        equivalence,
        min(1.0, max(beyond)) if margin and not math.isnan(equivalence[0]) else math.nan,
    )


def from_variance(
    first: float, second: float, variance: float, degrees: float, margin: float = 0.0
) -> PairedDifference:
    """By the `variance` of the difference, with Student's t of so many `degrees` of freedom; the p of a difference of 0
    is 1.

    Undefined where there is a difference and no variance: so few patients say nothing. Without either the p is 1, and
    intervals and equivalence are undefined: two models that rank alike what is here may rank others differently.
    """
    difference = second - first
    if not variance >= 0 or (variance == 0 and difference != 0):
        return undefined(first, second)
    deviation = math.sqrt(variance)
    if deviation == 0:
        return undefined(first, second)._replace(p=1.0)

    def within(level: float) -> tuple[float, float]:
        reach = student_t.reach(level, degrees) * deviation
        return difference - reach, difference + reach

    def above(value: float) -> float:
        return student_t.above(value / deviation, degrees)

    return PairedDifference(
        first,
        second,
        difference,
        within(LEVEL),
        never_zero(student_t.two_sided(difference / deviation, degrees)) if difference else 1.0,
        within(EQUIVALENCE_LEVEL),
        never_zero(above(margin - abs(difference))) if margin else math.nan,
    )


def undefined(first: float, second: float) -> PairedDifference:
    """Two numbers of whose difference nothing can be said."""
    nothing = (math.nan, math.nan)
    return PairedDifference(first, second, second - first, nothing, math.nan, nothing, math.nan)
