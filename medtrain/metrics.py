"""Scores of a classifier (AUROC, F1, kappa, calibration) with intervals by patient: NumPy in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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
    return _ratio(matrix.trace(), matrix.sum())


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
    return _ratio(samples * matrix.trace() - by_chance, samples**2 - by_chance)


def auroc(scores: ArrayLike, targets: ArrayLike) -> float:
    """Area under the ROC curve of `scores` [N] (any real dtype) for `targets` [N], each 0 or 1.

    The chance that a positive scores above a negative, a tie counting half: the Mann-Whitney statistic with
    mid-ranks (Hanley and McNeil, 1982). NaN if there is no positive or no negative. ValueError if a score is
    NaN, a target is not 0 or 1, or the lengths differ. Infinite scores are ranked like any other.
    """
    positives, negatives, below, not_above = _rank(*_binary(scores, targets))
    return _ratio(np.sum(below + not_above), 2 * len(positives) * len(negatives))


def average_precision(scores: ArrayLike, targets: ArrayLike) -> float:
    """Average precision of `scores` [N] for `targets` [N], each 0 or 1: sum of (R_n - R_n-1) P_n.

    One step for each distinct score; interpolation between them is too optimistic (Davis and Goadrich, 2006).
    NaN if there is no positive. Errors as in `auroc`.
    """
    values, positive = _binary(scores, targets)
    if not positive.any():
        return math.nan
    order = np.argsort(-values, kind="stable")
    values = values[order]
    last_of_tie = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
    hits = np.cumsum(positive[order])[last_of_tie]
    return float(np.sum(np.diff(hits, prepend=0) / hits[-1] * (hits / (last_of_tie + 1))))


def bootstrap_interval(
    statistic: Callable[[Ints], float], groups: int, seed: int, rounds: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of a statistic when whole groups (patients) are drawn with replacement.

    `statistic` gets int64 counts [groups], how often each group was drawn, and returns a number or NaN.
    Images of one patient are not independent, so drawing images would make the interval too narrow (Field and
    Welsh, 2007; percentile interval: Efron, 1981). Rounds in which the statistic is NaN are left out. One
    group says nothing of the spread: (NaN, NaN). The Philox seed makes it the same on every machine.
    """
    if rounds < 1 or not 0 < level < 1:
        raise ValueError(f"rounds is {rounds} and level {level}; expected rounds >= 1 and 0 < level < 1")
    if groups < 2:
        return math.nan, math.nan
    generator = np.random.Generator(np.random.Philox(seed))
    draws = (generator.integers(groups, size=groups) for _ in range(rounds))
    values = np.array([statistic(np.bincount(drawn, minlength=groups)) for drawn in draws])
    defined = values[~np.isnan(values)]
    if not len(defined):
        return math.nan, math.nan
    return float(np.quantile(defined, (1 - level) / 2)), float(np.quantile(defined, (1 + level) / 2))


def bootstrap_accuracy(
    correct: ArrayLike, groups: ArrayLike, seed: int, rounds: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the share of `correct` [N] (each 0 or 1) by `groups` [N] (patients, of any sortable type).

    The order of the samples does not matter. See `bootstrap_interval`.
    """
    right = _zero_or_one("correct", correct)
    group = _group_numbers(groups, len(right))
    size = np.bincount(group)
    hits = np.bincount(group[right], minlength=len(size))
    return bootstrap_interval(lambda draw: _ratio(draw @ hits, draw @ size), len(size), seed, rounds, level)


def bootstrap_auroc(
    scores: ArrayLike,
    targets: ArrayLike,
    groups: ArrayLike,
    seed: int,
    rounds: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of the AUROC of `scores` [N] for `targets` [N] (0 or 1) by `groups` [N] (patients).

    The scores are sorted once; a round only counts each sample as often as its group was drawn, which equals
    the AUROC of the repeated samples. Errors as in `auroc`; see `bootstrap_interval`.
    """
    values, positive = _binary(scores, targets)
    group = _group_numbers(groups, len(values))
    positives, negatives, below, not_above = _rank(values, positive)
    positive_group, negative_group = group[positives], group[negatives]
    before = np.zeros(len(negatives) + 1, dtype=np.int64)  # before[i]: weight of the i lowest negatives

    def weighted_auroc(drawn: Ints) -> float:
        weights = drawn[positive_group]
        np.cumsum(drawn[negative_group], out=before[1:])
        return _ratio(weights @ (before[below] + before[not_above]), 2 * weights.sum() * before[-1])

    return bootstrap_interval(weighted_auroc, int(group.max(initial=-1)) + 1, seed, rounds, level)


def expected_calibration_error(probabilities: ArrayLike, targets: ArrayLike, bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over equal bins (low, high] of the confidence.

    `probabilities` [N, C] with rows that sum to 1, `targets` [N] integers; the confidence is the highest
    probability (Guo et al., 2017). 0 is perfect; NaN without samples.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; expected at least 1")
    values, truth = _probabilities(probabilities, targets)
    confidence = values.max(axis=1)
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence, side="left")
    surplus = confidence - (values.argmax(axis=1) == truth)
    return _ratio(np.abs(np.bincount(bin_of, weights=surplus)).sum(), len(truth))


def brier_score(probabilities: ArrayLike, targets: ArrayLike) -> float:
    """Mean squared distance of `probabilities` [N, C] to the one-hot `targets` [N] (integers), in 0..2.

    The sum over ALL classes (Brier, 1950): for two classes twice the one-column form. NaN without samples.
    """
    values, truth = _probabilities(probabilities, targets)
    return _ratio(np.sum((values - np.eye(values.shape[1])[truth]) ** 2), len(truth))


def multiclass_report(
    scores: ArrayLike, targets: ArrayLike, classes: tuple[str, ...], groups: ArrayLike, seed: int = 0
) -> dict[str, Any]:
    """Every number of a single-label problem, as plain Python numbers ready for JSON; NaN becomes None.

    `scores` are softmax probabilities [N, C], float32 or float64, `targets` integers [N], `classes` the C
    names and `groups` [N] the patients. AUROC is one class against the rest; macro numbers are the mean over
    the classes where they are defined; the interval holds 95 % (`bootstrap_accuracy`).
    """
    values, truth = _probabilities(scores, targets)
    if not len(set(classes)) == len(classes) == values.shape[1]:
        raise ValueError(f"classes is {classes}; expected {values.shape[1]} different names")
    predictions = values.argmax(axis=1)
    confusion = confusion_matrix(truth, predictions, len(classes))
    each = per_class(confusion)
    areas = np.array([auroc(values[:, c], truth == c) for c in range(len(classes))])
    numbers = {**each._asdict(), "auroc": areas}
    rows = {name: {key: plain(row[c]) for key, row in numbers.items()} for c, name in enumerate(classes)}
    return {
        "samples": len(truth),
        "accuracy": plain(accuracy(confusion)),
        "accuracy_interval": [plain(end) for end in bootstrap_accuracy(predictions == truth, groups, seed)],
        "macro_f1": plain(_mean_of_defined(each.f1)),
        "macro_auroc": plain(_mean_of_defined(areas)),
        "ece": plain(expected_calibration_error(values, truth)),
        "brier": plain(brier_score(values, truth)),
        "per_class": rows,
        "confusion": confusion.tolist(),
    }


def _rank(scores: Floats, positive: NDArray[np.bool_]) -> tuple[Ints, Ints, Ints, Ints]:
    """Places of positives and negatives by score; how many negatives are below / not above each positive."""
    order = np.argsort(scores, kind="stable")
    positives, negatives = order[positive[order]], order[~positive[order]]
    below = np.searchsorted(scores[negatives], scores[positives], side="left")
    not_above = np.searchsorted(scores[negatives], scores[positives], side="right")
    return positives, negatives, below, not_above


def _ratio(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else math.nan


def _divide(part: Ints, whole: Ints) -> Floats:
    quotient: Floats = np.full(len(part), np.nan)
    return np.divide(part, whole, out=quotient, where=whole > 0)


def _mean_of_defined(values: Floats) -> float:
    return _ratio(np.nansum(values), np.count_nonzero(~np.isnan(values)))


def plain(value: Any) -> int | float | None:
    """A number as JSON takes it; None for NaN, which it has not."""
    return None if math.isnan(value) else np.asarray(value).item()


def _vector(name: str, values: ArrayLike, length: int | None = None) -> NDArray[Any]:
    """Return the values as an array [N], of the length that the arrays before it have."""
    array = np.asarray(values)
    if array.ndim != 1 or length not in (None, len(array)):
        raise ValueError(f"{name} has shape {array.shape}; expected {'[N]' if length is None else (length,)}")
    return array


def _check(name: str, wrong: ArrayLike, values: NDArray[Any], expected: str) -> None:
    """Raise a ValueError that names the first place where `wrong` is set."""
    if np.any(wrong):
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"{name}[{', '.join(map(str, where))}] is {values[where]}; expected {expected}")


def _class_numbers(name: str, values: ArrayLike, classes: int, length: int | None = None) -> Ints:
    array = _vector(name, values, length)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} has dtype {array.dtype}; expected integers")
    _check(name, (array < 0) | (array >= classes), array, f"a class in 0..{classes - 1}")
    return array.astype(np.int64)


def _zero_or_one(name: str, values: ArrayLike, length: int | None = None) -> NDArray[np.bool_]:
    array = _vector(name, values, length)
    _check(name, ~np.isin(array, (0, 1)), array, "0 or 1")
    return array.astype(bool)


def _binary(scores: ArrayLike, targets: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    values = _vector("scores", scores).astype(np.float64)
    _check("scores", np.isnan(values), values, "a number")
    return values, _zero_or_one("targets", targets, len(values))


def _group_numbers(groups: ArrayLike, length: int) -> Ints:
    """Number the groups 0..G-1 in sorted order, so that the order of the samples has no say in the draws."""
    array = _vector("groups", groups, length)
    if array.dtype.kind in "Of":
        # Missing patients would merge into one group of strangers.
        missing = [item is None or (isinstance(item, float) and math.isnan(item)) for item in array]
        _check("groups", missing, array, "a group; give a sample without one a group of its own")
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def _confusion(confusion: ArrayLike) -> Ints:
    matrix = np.asarray(confusion)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.issubdtype(matrix.dtype, np.integer):
        raise ValueError(f"confusion has shape {matrix.shape} of {matrix.dtype}; expected integers [C, C]")
    return matrix.astype(np.int64)


def _probabilities(probabilities: ArrayLike, targets: ArrayLike) -> tuple[Floats, Ints]:
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(f"probabilities has shape {values.shape}; expected [N, C]")
    truth = _class_numbers("targets", targets, values.shape[1], len(values))
    _check("probabilities", ~((values >= 0) & (values <= 1.001)), values, "a number in 0..1")
    sums = values.sum(axis=1)
    _check("sum of probabilities", np.abs(sums - 1) > 1e-3, sums, "1; apply softmax to logits first")
    return values, truth
