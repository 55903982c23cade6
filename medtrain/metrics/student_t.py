"""Student's t distribution with any degrees of freedom."""

from __future__ import annotations

import math

ENOUGH = 300  # terms of the continued fraction: it needs about the root of the degrees of freedom
WIDEST = 13.0  # above the 97.5 % quantile of one degree of freedom
TINY = 1e-300


def two_sided(t: float, degrees: float) -> float:
    """The chance of a value as far from 0 as `t`, exact in its tails; of infinite `degrees` that of the normal."""
    if degrees > 1e6:  # the same to six digits
        return math.erfc(abs(t) / math.sqrt(2))
    return _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))


def above(t: float, degrees: float) -> float:
    """The chance of a value above `t`."""
    half = two_sided(t, degrees) / 2
    return half if t > 0 else 1 - half


def reach(level: float, degrees: float) -> float:
    """What holds `level` of all values on both sides of 0, for degrees of freedom from 1 and levels up to 95 %."""
    low, high = 0.0, WIDEST
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if two_sided(middle, degrees) > 1 - level else (low, middle)
    return middle


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function (DLMF 8.17), by the side of its continued fraction that converges."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_front) / a * _fraction(a, b, x)
    return 1 - math.exp(log_front) / b * _fraction(b, a, 1 - x)


def _fraction(a: float, b: float, x: float) -> float:
    """DLMF 8.17.22, from the front by the method of Lentz (1976)."""
    value = upper = 1.0
    lower = 0.0
    for step in range(1, ENOUGH):
        m, odd = divmod(step, 2)
        if odd:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / (1 + term * lower or TINY)
        upper = 1 + term / upper or TINY
        value *= upper * lower
        if abs(upper * lower - 1) < 1e-15:
            break
    return 1 / value
