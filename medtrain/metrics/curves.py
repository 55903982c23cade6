"""ROC and precision-recall curves with bands, and operating points, by patient bootstrap.

The points are scikit-learn's. For the rounds of the bootstrap the scores are sorted into bins once; a round then is a
product of a sparse matrix (bins x patients) with how often each patient was drawn. Up to BINS distinct scores each has
a bin of its own, and the rounds are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.metrics.intervals import all_or_none, has_width, independent_pairs
from medtrain.metrics.numbers import Floats, Ints

BINS = 2000  # at which ROC and precision-recall curves of a round are known
GRID = 101  # places of a band
DRAWN = 160  # points of a curve that are kept for drawing
TOGETHER = 50  # rounds that are computed at once: what they take fits into a cache
AT = (0.90, 0.95)  # specificity and sensitivity of the operating points
NEAR = 1e-12  # of a share that is met exactly, but for the last bit
LEVEL = 0.95


@dataclass(frozen=True)
class OperatingPoint:
    """The `value` of one number where the other is at least `at`, its interval, and the threshold there.

    `threshold` is infinite where the other number is only reached by predicting nothing.
    """

    number: str  # sensitivity or specificity
    at: float
    value: float
    low: float
    high: float
    threshold: float
    exact: bool = False  # the interval is Clopper and Pearson's, as all resamples are alike


@dataclass(frozen=True)
class Band:
    """Pointwise 95 % ends of a curve over the places `x`."""

    x: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Curves:
    """What the scores of one label are worth at every threshold; the points are thinned for drawing."""

    positives: int
    negatives: int
    roc: tuple[Floats, Floats]  # false and true positive rate
    roc_band: Band
    precision_recall: tuple[Floats, Floats]  # recall and precision
    precision_band: Band
    auroc_interval: tuple[float, float]
    points: tuple[OperatingPoint, ...]
    exact: bool = False  # so is that of the AUROC; the bands are none


def curves_of(
    scores: Floats,
    positive: NDArray[np.bool_],
    known: NDArray[np.bool_],
    groups: NDArray[Any],
    seed: int = 0,
    rounds: int = 1000,
) -> list[Curves | None]:
    """The curves of each column of `scores` [N, L] where it is `known` [N, L]; None without a positive or a negative.

    `groups` [N] are patients, who are drawn whole, once a round for all labels, in the same way as for every other
    interval (bootstrap.bootstrap_intervals).
    """
    _, group = np.unique(groups, return_inverse=True)
    count = int(group.max(initial=-1)) + 1
    labels = [
        _Label(scores[own, i], positive[own, i], group[own], count) if _both(positive[own, i]) else None
        for i, own in enumerate(known.T)
    ]
    generator = np.random.Generator(np.random.Philox(seed))
    for first in range(0, rounds if count > 1 else 0, TOGETHER):
        many = min(TOGETHER, rounds - first)
        draws = [np.bincount(generator.integers(count, size=count), minlength=count) for _ in range(many)]
        weights = np.stack(draws, 1).astype(np.float32)
        for label in labels:
            if label is not None:
                label.add(weights)
    return [None if label is None else label.curves() for label in labels]


def _both(positive: NDArray[np.bool_]) -> bool:
    return bool(positive.any()) and not positive.all()


class _Label:
    """The curves of one label, and what the rounds so far gave for it."""

    def __init__(self, scores: Floats, positive: NDArray[np.bool_], group: Ints, groups: int) -> None:
        from scipy.sparse import coo_array

        self.scores, self.positive, self.group = scores, positive, group
        edges = _edges(scores, positive)  # rising; a bin is from its edge on
        bins = len(edges) - np.searchsorted(edges, scores, "right")  # the highest scores first
        self.positives, self.negatives = (
            coo_array((np.ones(own.sum(), np.float32), (bins[own], group[own])), (len(edges), groups)).tocsr()
            for own in (positive, ~positive)
        )
        self.share = np.linspace(0, 1, GRID)
        self.rates: list[Floats] = []
        self.precisions: list[Floats] = []
        self.areas: list[float] = []
        self.values: list[list[float]] = []

    def add(self, weights: NDArray[np.float32]) -> None:
        """The rounds [groups, R]."""
        true, false = (
            np.vstack([np.zeros((1, weights.shape[1])), np.cumsum(own @ weights, 0, np.float64)])
            for own in (self.positives, self.negatives)
        )
        for hits, alarms in zip(true.T, false.T, strict=True):
            if hits[-1] and alarms[-1]:
                recall, rate = hits / hits[-1], alarms / alarms[-1]
                self.rates.append(np.interp(self.share, rate, recall))  # of equal rates the last: the highest recall
                at = np.searchsorted(recall, self.share[1:] - NEAR)
                self.precisions.append(hits[at] / (hits[at] + alarms[at]))
                self.areas.append(float(np.sum(np.diff(rate) * (recall[1:] + recall[:-1]) / 2)))
                self.values.append([value for value, _ in _operating(rate, recall)])

    def curves(self) -> Curves:
        """All that is known now."""
        from sklearn.metrics import precision_recall_curve, roc_curve

        rate, recall, thresholds = roc_curve(self.positive, self.scores, drop_intermediate=False)
        precision, recalled, _ = precision_recall_curve(self.positive, self.scores)
        precision, recalled = precision[-2::-1], recalled[-2::-1]  # without (0, 1), which is of no threshold
        all_found = int(np.searchsorted(recalled, 1 - NEAR)) + 1  # below that threshold only precision falls
        found = _operating(rate, recall)
        ends = _ends(self.values, len(found))
        names = [("sensitivity", at) for at in AT] + [("specificity", at) for at in AT]
        points = tuple(
            self._point(number, at, value, (float(low), float(high)), float(thresholds[place]))
            for (number, at), (value, place), (low, high) in zip(names, found, ends.T, strict=True)
        )
        low, high = _ends([[area] for area in self.areas], 1)[:, 0].tolist()
        alike = bool(self.areas) and not has_width(low, high)
        rates, precisions = ([], []) if alike else (self.rates, self.precisions)
        if alike:
            low, high = self._exact(float(np.mean(self.areas)), independent_pairs(self.group, self.positive))
        return Curves(
            positives=int(self.positive.sum()),
            negatives=int((~self.positive).sum()),
            roc=_thinned(rate, recall),
            roc_band=Band(self.share, *_ends(rates, GRID)),
            precision_recall=_thinned(recalled[:all_found], precision[:all_found]),
            precision_band=Band(self.share[1:], *_ends(precisions, GRID - 1)),
            auroc_interval=(low, high),
            points=points,
            exact=alike and not math.isnan(low),
        )

    def _point(
        self, number: str, at: float, value: float, ends: tuple[float, float], threshold: float
    ) -> OperatingPoint:
        """With the exact interval of the patients with a positive, or a negative, where all resamples are alike."""
        exact = False
        if self.areas and not has_width(*ends):
            own = self.group[self.positive == (number == "sensitivity")]
            ends = self._exact(value, len(np.unique(own)))
            exact = not math.isnan(ends[0])
        return OperatingPoint(number, at, value, *ends, threshold, exact)

    @staticmethod
    def _exact(value: float, trials: int) -> tuple[float, float]:
        return all_or_none(value, trials) if trials > 1 else (math.nan, math.nan)


def _edges(scores: Floats, positive: NDArray[np.bool_]) -> Floats:
    """The lowest score of each bin, rising: all distinct scores, or of many those that part positives and negatives
    evenly."""
    distinct = np.unique(scores)
    if len(distinct) <= BINS:
        return distinct
    each = [
        np.quantile(own, np.linspace(0, 1, BINS // 2), method="lower") for own in (scores[positive], scores[~positive])
    ]
    return np.unique(np.concatenate([distinct[:1], *each]))


def _operating(rate: Floats, recall: Floats) -> list[tuple[float, int]]:
    """For each of AT the sensitivity at that specificity, then for each the specificity at that sensitivity; each with
    the place of its threshold."""
    sure = [int(np.searchsorted(rate, 1 - at + NEAR, "right")) - 1 for at in AT]
    found = [int(np.searchsorted(recall, at - NEAR)) for at in AT]
    return [(float(recall[place]), place) for place in sure] + [(float(1 - rate[place]), place) for place in found]


def _ends(values: list[Any], width: int) -> Floats:
    """Lower and upper ends [2, width] of what the rounds gave; NaN where there is none."""
    if not values:
        return np.full((2, width), math.nan)
    return np.asarray(np.quantile(np.array(values), ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0))


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """At most DRAWN points of a curve, evenly spread along it, its ends among them."""
    if len(x) <= DRAWN:
        return x, y
    along = np.concatenate([[0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], DRAWN)).clip(max=len(x) - 1))
    return x[kept], y[kept]
