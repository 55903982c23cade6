"""A paired test of calibration errors: what their difference would be if the two models were swapped in any patients.

A bootstrap of patients finds too few differences of a calibration error. The error is a sum of distances from 0, and
each resample adds noise to bins whose own distance is mostly noise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medtrain.metrics.numbers import Floats

Errors = Callable[[Floats], Floats]
"""Sums of score less truth by bin [..., P] -> K calibration errors [..., K]."""


def swap_test(first: Floats, second: Floats, errors: Errors, rounds: int, seed: int = 0) -> Floats:
    """Two-sided p [K] of no difference between K calibration errors of two models, from the sums of each patient
    [G, P].

    In each round a coin decides for each patient which model's scores are whose (approximate randomization: Noreen,
    1989): where either model could have given the scores of the other, every outcome is as likely as the one that was
    seen. The data themselves count as one more round (Davison and Hinkley, 1997). NaN where an error is undefined. The
    Philox seed makes the coins the same on every machine.
    """
    apart = second - first
    one, other = first.sum(0), second.sum(0)
    observed = np.abs(errors(other) - errors(one))
    coins = np.random.Generator(np.random.Philox(seed)).integers(2, size=(rounds, len(first)), dtype=np.int8)
    moved = coins.astype(np.float64) @ apart
    drawn = np.abs(errors(other - moved) - errors(one + moved))
    least = observed * (1 - 1e-12)  # sums in another order are the same sums
    p = (1 + (drawn >= least).sum(0)) / (1 + rounds)
    return np.where(np.isnan(observed), np.nan, p)
