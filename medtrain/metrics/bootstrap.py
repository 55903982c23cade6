"""Intervals of scores by patient: whole patients are drawn again and again, with replacement."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtrain.metrics import classification, numbers
from medtrain.metrics.intervals import has_width
from medtrain.metrics.numbers import Floats, Ints


class AurocIntervals(NamedTuple):
    """Lower and upper ends: of each label, of the mean over the labels that have one, of all cells pooled."""

    labels: Floats  # [L, 2]
    macro: Floats  # [2]
    micro: Floats  # [2]


def bootstrap_intervals(
    statistics: Callable[[Ints], Floats], groups: int, seed: int, rounds: int = 1000, level: float = 0.95
) -> Floats:
    """Percentile intervals [K, 2] of K statistics when whole groups (patients) are drawn with replacement.

    `statistics` gets int64 counts [groups], how often each group was drawn, and returns K numbers, or NaN where one is
    undefined. Images of one patient are not independent, so drawing images would make the intervals too narrow (Field
    and Welsh, 2007; percentile interval: Efron, 1981). Rounds in which a statistic is NaN are left out of its own. One
    group says nothing of the spread: NaN. Nor do rounds that all give the same, as where everything is right: NaN too
    (see intervals.all_or_none). The Philox seed makes it the same on every machine.
    """
    if rounds < 1 or not 0 < level < 1:
        raise ValueError(f"rounds is {rounds} and level {level}; expected rounds >= 1 and 0 < level < 1")
    if groups < 2:
        return np.full((len(statistics(np.ones(groups, np.int64))), 2), np.nan)
    generator = np.random.Generator(np.random.Philox(seed))
    draws = (generator.integers(groups, size=groups) for _ in range(rounds))
    values = np.array([statistics(np.bincount(drawn, minlength=groups)) for drawn in draws])
    ends = np.full((values.shape[1], 2), np.nan)
    for i, column in enumerate(values.T):
        if len(defined := column[~np.isnan(column)]):
            low, high = np.quantile(defined, ((1 - level) / 2, (1 + level) / 2))
            ends[i] = (low, high) if has_width(low, high) else math.nan
    return ends


def bootstrap_accuracy(
    correct: ArrayLike, groups: ArrayLike, seed: int, rounds: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the share of `correct` [N] (each 0 or 1) by `groups` [N] (patients, of any sortable type).

    The order of the samples does not matter. See `bootstrap_intervals`.
    """
    right = classification.zero_or_one("correct", correct)
    group = group_numbers(groups, len(right))
    size = np.bincount(group)
    hits = np.bincount(group[right], minlength=len(size))

    def share(drawn: Ints) -> Floats:
        return np.array([numbers.ratio(drawn @ hits, drawn @ size)])

    low, high = bootstrap_intervals(share, len(size), seed, rounds, level)[0].tolist()
    return low, high


def bootstrap_kappa(
    targets: ArrayLike, predictions: ArrayLike, groups: ArrayLike, seed: int, rounds: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Interval of Cohen's kappa of `targets` and `predictions` [N] (each 0 or 1) by `groups` [N] (patients).

    See `bootstrap_intervals`.
    """
    truth = classification.zero_or_one("targets", targets)
    said = classification.zero_or_one("predictions", predictions, len(truth))
    group = group_numbers(groups, len(truth))
    count = int(group.max(initial=-1)) + 1
    cells = np.bincount(group * 4 + truth * 2 + said, minlength=4 * count).reshape(count, 4)

    def kappa(drawn: Ints) -> Floats:
        return np.array([classification.cohen_kappa((drawn @ cells).reshape(2, 2))])

    low, high = bootstrap_intervals(kappa, count, seed, rounds, level)[0].tolist()
    return low, high


def bootstrap_aurocs(
    scores: ArrayLike,
    targets: ArrayLike,
    known: ArrayLike,
    groups: ArrayLike,
    seed: int,
    rounds: int = 1000,
    level: float = 0.95,
) -> AurocIntervals:
    """Intervals of the AUROCs of `scores` [N, L] for `targets` [N, L] where `known` [N, L], by `groups` [N] (patients).

    A round draws patients once for all labels, which are not independent of each other. Errors as in `metrics.auroc`;
    see `bootstrap_intervals`.
    """
    values, truth, cells = np.asarray(scores), np.asarray(targets), np.asarray(known, bool)
    group = group_numbers(groups, len(values))
    labels = [weighted_auroc(values[own, i], truth[own, i], group[own]) for i, own in enumerate(cells.T)]
    pooled = weighted_auroc(values[cells], truth[cells], np.broadcast_to(group[:, None], cells.shape)[cells])

    def areas(drawn: Ints) -> Floats:
        each = np.array([area(drawn) for area in labels])
        return np.array([*each, numbers.mean_of_defined(each), pooled(drawn)])

    ends = bootstrap_intervals(areas, int(group.max(initial=-1)) + 1, seed, rounds, level)
    return AurocIntervals(ends[:-2], ends[-2], ends[-1])


def weighted_auroc(scores: NDArray[Any], targets: NDArray[Any], groups: Ints) -> Callable[[Ints], float]:
    """The AUROC of samples that are repeated as often as their group is drawn.

    The scores are sorted once, here: a draw only counts.
    """
    positives, negatives, below, not_above = classification.rank(*classification.binary(scores, targets))
    positive_group, negative_group = groups[positives], groups[negatives]
    before = np.zeros(len(negatives) + 1, dtype=np.int64)  # before[i]: weight of the i lowest negatives

    def area(drawn: Ints) -> float:
        weights = drawn[positive_group]
        np.cumsum(drawn[negative_group], out=before[1:])
        return numbers.ratio(weights @ (before[below] + before[not_above]), 2 * weights.sum() * before[-1])

    return area


def group_numbers(groups: ArrayLike, length: int) -> Ints:
    """Number the groups 0..G-1 in sorted order, so that the order of the samples has no say in the draws."""
    array = classification.vector("groups", groups, length)
    if array.dtype.kind in "Of":
        # Missing patients would merge into one group of strangers.
        missing = [item is None or (isinstance(item, float) and math.isnan(item)) for item in array]
        numbers.check("groups", missing, array, "a group; give a sample without one a group of its own")
    return np.unique(array, return_inverse=True)[1].astype(np.int64)
