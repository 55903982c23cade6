"""The difference of one number of two models that were tested on the same patients, and how sure it is."""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

import numpy as np

from medtrain.metrics import student_t
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

    Percentile intervals (Efron, 1981); p is twice the smaller share of rounds on one side of 0, the data themselves
    counted as one more round (Davison and Hinkley, 1997), so that it is at least 2 / (R + 1).
    """
    defined = drawn[~np.isnan(drawn)]
    if not len(defined) or math.isnan(second - first):
        return undefined(first, second)

    def share(rounds: int) -> float:
        return (1 + rounds) / (1 + len(defined))

    def within(level: float) -> tuple[float, float]:
        low, high = np.quantile(defined, ((1 - level) / 2, (1 + level) / 2)).tolist()
        return low, high

    sides = share(int((defined <= 0).sum())), share(int((defined >= 0).sum()))
    beyond = share(int((defined <= -margin).sum())), share(int((defined >= margin).sum()))
    return PairedDifference(
        first,
        second,
        second - first,
        within(LEVEL),
        min(1.0, 2 * min(sides)),
        within(EQUIVALENCE_LEVEL),
        min(1.0, max(beyond)) if margin else math.nan,
    )


def from_variance(
    first: float, second: float, variance: float, degrees: float, margin: float = 0.0
) -> PairedDifference:
    """By the `variance` of the difference, with Student's t of so many `degrees` of freedom; the p of a difference of 0
    is 1.

    Undefined where there is a difference and no variance: so few patients say nothing.
    """
    difference = second - first
    if not variance >= 0 or (variance == 0 and difference != 0):
        return undefined(first, second)
    deviation = math.sqrt(variance)

    def within(level: float) -> tuple[float, float]:
        reach = student_t.reach(level, degrees) * deviation
        return difference - reach, difference + reach

    def above(value: float) -> float:
        if deviation == 0:
            return 0.0 if value > 0 else 1.0
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
