"""Whether a probability of 0.3 comes true in three of ten cases, and one number that brings it nearer to that."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
BINS = 15
STEPS = 60  # of the search, each of which narrows it to 0.62
COOLEST, HOTTEST = 0.02, 50.0
NEVER_CERTAIN = 2.0**-53  # float64 rounds a sigmoid to 0 and 1, whose logits are infinite; the least beside 1


def calibration_error(scores: ArrayLike, positive: ArrayLike) -> float:
    """Mean distance of `scores` [N], probabilities, to the share of `positive` [N], over 15 equal bins; NaN for none.

    The expected calibration error of one label (Naeini et al., AAAI 2015): unlike that of several classes it judges
    the probability of the label itself, not the confidence in the likelier answer.
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(positive, np.float64)
    if not len(values):
        return math.nan
    bin_of = np.minimum((values * BINS).astype(np.int64), BINS - 1)
    return float(np.abs(np.bincount(bin_of, weights=values - truth)).sum() / len(values))


def best_temperature(scores: ArrayLike, positive: ArrayLike) -> float:
    """The temperature that makes `positive` [N] likeliest under `scores` [N] (Guo et al., ICML 2017); above 1: scores
    were too sure. 1 where all are positive, or none: no temperature would be hot or cool enough."""
    logits, truth = _logits(np.asarray(scores, np.float64)), np.asarray(positive, bool)
    if truth.all() or not truth.any():
        return 1.0
    signed = np.where(truth, -logits, logits)
    low, high = math.log(COOLEST), math.log(HOTTEST)
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(STEPS):  # the loss has one valley: it is convex in 1 / temperature
        one, other = high - golden * (high - low), low + golden * (high - low)
        if _loss(signed, one) < _loss(signed, other):
            high = other
        else:
            low = one
    return math.exp((low + high) / 2)


def at_temperature(scores: ArrayLike, temperature: float) -> Floats:
    """Probabilities of any shape, with their logits divided by `temperature`."""
    # Not 1 / (1 + exp(-x)), which overflows, and says so, where the temperature is low.
    return np.asarray(np.exp(-np.logaddexp(0, -_logits(np.asarray(scores, np.float64)) / temperature)))


def _logits(scores: Floats) -> Floats:
    inside = np.clip(scores, NEVER_CERTAIN, 1 - NEVER_CERTAIN)
    return np.log(inside) - np.log1p(-inside)


def _loss(signed: Floats, log_temperature: float) -> float:
    """Cross entropy of logits whose sign is that of their error."""
    return float(np.logaddexp(0, signed / math.exp(log_temperature)).mean())
