"""Numbers of a problem whose answer is a score: how far what is predicted lies from what was given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medtrain.metrics import numbers as metrics_numbers
from medtrain.metrics.bootstrap import bootstrap_intervals
from medtrain.metrics.numbers import Floats, Ints, plain

TENTHS = 10
NUMBERS = ("mae", "rmse", "r2", "spearman")


def score_report(
    predicted: ArrayLike, given: ArrayLike, groups: ArrayLike, seed: int = 0, name: str = "score"
) -> dict[str, Any]:
    """Every number of it, as plain Python numbers ready for JSON; NaN becomes None.

    `predicted` and `given` [N] are scores, `groups` [N] patients, by whom the 95 % intervals are, `name` is what the
    scores are called. Rows without a given
    score (NaN) count nowhere. ValueError where the lengths differ, or what is predicted is no number.
    """
    values, truth = np.asarray(predicted, np.float64), np.asarray(given, np.float64)
    if values.ndim != 1 or values.shape != truth.shape:
        raise ValueError(f"predicted has shape {values.shape}, given {truth.shape}; expected [N] and [N]")
    metrics_numbers.check("predicted", ~np.isfinite(values), values, "a number")
    known = ~np.isnan(truth)
    values, truth = values[known], truth[known]
    _, group = np.unique(np.asarray(groups)[known], return_inverse=True)

    scored = Scored(values, truth)

    def numbers(drawn: Ints) -> Floats:
        return scored(drawn[group].astype(np.float64))

    people = int(group.max(initial=-1)) + 1
    found = dict(zip(NUMBERS, map(plain, numbers(np.ones(people, np.int64))), strict=True))
    ends = bootstrap_intervals(numbers, people, seed)
    intervals = {
        f"{number}_interval": [plain(end) for end in pair] for number, pair in zip(NUMBERS, ends.tolist(), strict=True)
    }
    row = {"samples": len(values), **found, **intervals}
    loss = plain(metrics_numbers.ratio(np.square(values - truth).sum(), len(values)))
    return {"loss": loss, **row, "per_class": {name: row}, "by_given": _by_given(values, truth)}


def _by_given(predicted: Floats, given: Floats) -> list[dict[str, Any]]:
    """In each tenth of the range of the given scores that has any: their mean, mean and deviation of what is predicted,
    and how many they are."""
    if not len(given):
        return []
    low, high = given.min(), given.max()
    tenth = np.minimum((given - low) / max(high - low, 1e-12) * TENTHS, TENTHS - 1).astype(int)
    return [
        {
            "given": float(given[own].mean()),
            "predicted": float(predicted[own].mean()),
            "deviation": float(predicted[own].std()),
            "samples": int(own.sum()),
        }
        for own in (tenth == number for number in np.unique(tenth))
    ]


class Scored:
    """NUMBERS of predicted and given scores [N] whose rows count so many times; they are sorted once."""

    def __init__(self, predicted: Floats, given: Floats) -> None:
        self._error, self._given = predicted - given, given
        self._ties = _ties(predicted), _ties(given)  # to sort anew in each round would take most of the time

    def __call__(self, weights: Floats) -> Floats:
        """[4] where rows count `weights` [N] times: mean absolute error, root of the mean squared error, share of the
        variance that is explained (1 - residual / total sum of squares; NaN where all given scores are equal), and
        Spearman's rank correlation (Pearson's of the mid-ranks; NaN where either side is constant)."""
        total, squares = weights.sum(), weights @ self._error**2
        mean = metrics_numbers.ratio(weights @ self._given, total)
        spread = weights @ (self._given - mean) ** 2 if total else 0.0
        ranks = [_mid_ranks(of, weights) for of in self._ties]
        return np.array([
            metrics_numbers.ratio(weights @ np.abs(self._error), total),
            math.sqrt(squares / total) if total else math.nan,
            1 - squares / spread if spread > 0 else math.nan,
            _correlation(ranks[0], ranks[1], weights),
        ])  # fmt: skip


def _ties(values: Floats) -> Ints:
    """[N] which of the distinct values, in order, each is."""
    return np.unique(values, return_inverse=True)[1]


def _mid_ranks(of: Ints, weights: Floats) -> Floats:
    """The rank of each value where each counts so many times, of _ties; of ties the middle."""
    each = np.bincount(of, weights)
    middle: Floats = (np.cumsum(each) - each + (each + 1) / 2)[of]
    return middle


def _correlation(one: Floats, other: Floats, weights: Floats) -> float:
    total = weights.sum()
    if not total:
        return math.nan
    a, b = one - weights @ one / total, other - weights @ other / total
    spread = (weights @ a**2) * (weights @ b**2)
    return float(weights @ (a * b) / math.sqrt(spread)) if spread > 0 else math.nan
