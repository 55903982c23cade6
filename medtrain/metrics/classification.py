"""Scores of a classifier (AUROC, F1, kappa, calibration): NumPy in, numbers out."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtrain.metrics.numbers import Floats, Ints, check, ratio

LEAST_BESIDE_1 = 2.0**-53  # what is left beside the largest float64 below 1, to which a larger one is rounded
NEAR_1 = 1 - 1e-6


class PerClass(NamedTuple):
    """One number for each class, [C] each; NaN where the number is undefined."""

    support: Ints
    precision: Floats
    recall: Floats
    f1: Floats


def confusion_matrix(targets: ArrayLike, predictions: ArrayLike, classes: int) -> Ints:
    """Count the samples of each (truth, prediction): int64 [classes, classes], rows are the truth.

    `targets` and `predictions` are integers [N] in 0..classes-1; anything else is a ValueError.
    """
    truth = _class_numbers("targets", targets, classes)
    predicted = _class_numbers("predictions", predictions, classes, len(truth))
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def accuracy(confusion: ArrayLike) -> float:
    """Share of the samples on the diagonal of a confusion matrix [C, C]; NaN if it holds no sample."""
    matrix = _confusion(confusion)
    return ratio(matrix.trace(), matrix.sum())


def per_class(confusion: ArrayLike) -> PerClass:
    """Precision, recall, F1 and support of each class of a confusion matrix [C, C] whose rows are the truth.

    NaN, not 0, where a number is undefined: precision of a class never predicted, recall of a class without
    samples, F1 = 2 TP / (2 TP + FP + FN) of a class with neither (van Rijsbergen, 1979).
    """
    matrix = _confusion(confusion)
    hits, support, predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    f1 = _divide(2 * hits, support + predicted)
    return PerClass(support, _divide(hits, predicted), _divide(hits, support), f1)


def cohen_kappa(confusion: ArrayLike) -> float:
    """Agreement beyond chance of a confusion matrix [C, C]: 1 is perfect, 0 is chance (Cohen, 1960).

    NaN if there is no sample, or if chance alone agrees always (one class on both sides).
    """
    matrix = _confusion(confusion)
    samples, by_chance = matrix.sum(), matrix.sum(axis=1) @ matrix.sum(axis=0)
    return ratio(samples * matrix.trace() - by_chance, samples**2 - by_chance)


def auroc(scores: ArrayLike, targets: ArrayLike) -> float:
    """Area under the ROC curve of `scores` [N] (any real dtype) for `targets` [N], each 0 or 1.

    The chance that a positive scores above a negative, a tie counting half: the Mann-Whitney statistic with
    mid-ranks (Hanley and McNeil, 1982). NaN if there is no positive or no negative. ValueError if a score is
    NaN, a target is not 0 or 1, or the lengths differ. Infinite scores are ranked like any other.
    """
    positives, negatives, below, not_above = rank(*binary(scores, targets))
    return ratio(np.sum(below + not_above), 2 * len(positives) * len(negatives))


def average_precision(scores: ArrayLike, targets: ArrayLike) -> float:
    """Average precision of `scores` [N] for `targets` [N], each 0 or 1: sum of (R_n - R_n-1) P_n.

    One step for each distinct score; interpolation between them is too optimistic (Davis and Goadrich, 2006).
    NaN if there is no positive. Errors as in `auroc`.
    """
    values, positive = binary(scores, targets)
    if not positive.any():
        return math.nan
    order = np.argsort(-values, kind="stable")
    values = values[order]
    last_of_tie = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
    hits = np.cumsum(positive[order])[last_of_tie]
    return float(np.sum(np.diff(hits, prepend=0) / hits[-1] * (hits / (last_of_tie + 1))))


def expected_calibration_error(probabilities: ArrayLike, targets: ArrayLike, bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over equal bins (low, high] of the confidence.

    `probabilities` [N, C] with rows that sum to 1, `targets` [N] integers; the confidence is the highest
    probability (Guo et al., 2017). 0 is perfect; NaN without samples.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; expected at least 1")
    values, truth = distributions(probabilities, targets)
    confidence = values.max(axis=1)
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")
    surplus = confidence - (values.argmax(axis=1) == truth)
    return ratio(np.abs(np.bincount(bin_of, weights=surplus)).sum(), len(truth))


def brier_score(probabilities: ArrayLike, targets: ArrayLike) -> float:
    """Mean squared distance of `probabilities` [N, C] to the one-hot `targets` [N] (integers), in 0..2.

    The sum over ALL classes (Brier, 1950): for two classes twice the one-column form. NaN without samples.
    """
    values, truth = distributions(probabilities, targets)
    return ratio(np.sum((values - np.eye(values.shape[1])[truth]) ** 2), len(truth))


def rankable(probabilities: Floats) -> Floats:
    """What to rank rows of probabilities [N, C] by, the same order column by column: their log-odds. Where a class is
    all but certain, its own probability is rounded to 1, and what is left for the others is not."""
    count = probabilities.shape[1]  # the sum of the others: to subtract from 1 would round it too
    sums = np.stack([np.delete(probabilities, c, axis=1).sum(axis=1) for c in range(count)], axis=1)
    others = np.where(probabilities > NEAR_1, sums, 1 - probabilities)
    with np.errstate(divide="ignore"):  # 0 and 1 themselves: the first and the last
        found: Floats = np.log(probabilities) - np.log(np.maximum(others, 0))
    return found


def rank(scores: Floats, positive: NDArray[np.bool_]) -> tuple[Ints, Ints, Ints, Ints]:
    """Places of positives and negatives by score; how many negatives are below / not above each positive."""
    order = np.argsort(scores, kind="stable")
    positives, negatives = order[positive[order]], order[~positive[order]]
    below = np.searchsorted(scores[negatives], scores[positives], side="left")
    not_above = np.searchsorted(scores[negatives], scores[positives], side="right")
    return positives, negatives, below, not_above


def _divide(part: Ints, whole: Ints) -> Floats:
    quotient: Floats = np.full(len(part), np.nan)
    return np.divide(part, whole, out=quotient, where=whole > 0)


def vector(name: str, values: ArrayLike, length: int | None = None) -> NDArray[Any]:
    """Return the values as an array [N], of the length that the arrays before it have."""
    array = np.asarray(values)
    if array.ndim != 1 or length not in (None, len(array)):
        raise ValueError(f"{name} has shape {array.shape}; expected {'[N]' if length is None else (length,)}")
    return array


def _class_numbers(name: str, values: ArrayLike, classes: int, length: int | None = None) -> Ints:
    array = vector(name, values, length)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} has dtype {array.dtype}; expected integers")
    check(name, (array < 0) | (array >= classes), array, f"a class in 0..{classes - 1}")
    return array.astype(np.int64)


def zero_or_one(name: str, values: ArrayLike, length: int | None = None) -> NDArray[np.bool_]:
    """The values as booleans [N]; a ValueError names the first that is not 0 or 1."""
    array = vector(name, values, length)
    check(name, ~np.isin(array, (0, 1)), array, "0 or 1")
    return array.astype(bool)


def binary(scores: ArrayLike, targets: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Scores [N] and what is positive among them [N]; ValueError as in `auroc`."""
    values = vector("scores", scores).astype(np.float64)
    check("scores", np.isnan(values), values, "a number")
    return values, zero_or_one("targets", targets, len(values))


def _confusion(confusion: ArrayLike) -> Ints:
    matrix = np.asarray(confusion)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.issubdtype(matrix.dtype, np.integer):
        raise ValueError(f"confusion has shape {matrix.shape} of {matrix.dtype}; expected integers [C, C]")
    return matrix.astype(np.int64)


def distributions(probabilities: ArrayLike, targets: ArrayLike) -> tuple[Floats, Ints]:
    """Rows of probabilities [N, C] that sum to 1, and the classes [N] that are true; ValueError otherwise."""
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(f"probabilities has shape {values.shape}; expected [N, C]")
    truth = _class_numbers("targets", targets, values.shape[1], len(values))
    check("probabilities", ~((values >= 0) & (values <= 1.001)), values, "a number in 0..1")
    sums = values.sum(axis=1)
    check("sum of probabilities", np.abs(sums - 1) > 1e-3, sums, "1; apply softmax to logits first")
    return values, truth
