"""The main numbers of each kind of problem as functions of how often each patient counts, for a bootstrap.

With each patient once they are those of the reports.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.datasets.labels import PRESENT
from medtrain.metrics import classification
from medtrain.metrics.abnormality_report import THRESHOLD
from medtrain.metrics.multilabel_report import known_cells
from medtrain.metrics.numbers import Floats, Ints, mean_of_defined, ratio
from medtrain.metrics.weighted_ranking import WeightedRanking

Numbers = Callable[[Ints], Floats]
MULTILABEL = ("macro_auroc", "macro_average_precision", "micro_auroc", "micro_average_precision")
MULTICLASS = ("accuracy", "macro_auroc", "macro_f1")
ABNORMALITY = ("kappa", "auroc", "accuracy")
SCORE = ("mae", "rmse", "r2")


def multilabel_numbers(scores: Floats, labels: NDArray[Any], groups: Ints) -> Numbers:
    """MULTILABEL, then the average precision of each label: of probabilities [N, L], `labels` [N, L], patients [N]."""
    known, positive = known_cells(labels), labels == PRESENT
    each = [WeightedRanking(scores[own, i], positive[own, i], groups[own]) for i, own in enumerate(known.T)]
    pooled = WeightedRanking(scores[known], positive[known], np.broadcast_to(groups[:, None], known.shape)[known])

    def numbers(drawn: Ints) -> Floats:
        areas, precisions = np.array([ranking(drawn) for ranking in each]).T
        return np.array([mean_of_defined(areas), mean_of_defined(precisions), *pooled(drawn), *precisions])

    return numbers


def multiclass_numbers(scores: Floats, targets: Ints, groups: Ints) -> Numbers:
    """MULTICLASS of probabilities [N, C], true classes [N] and patients [N]."""
    classes = scores.shape[1]
    ranked = classification.rankable(scores)
    each = [WeightedRanking(ranked[:, c], targets == c, groups) for c in range(classes)]
    cells = targets * classes + scores.argmax(1)

    def numbers(drawn: Ints) -> Floats:
        confusion = _confusion(cells, drawn[groups], classes)
        areas = np.array([ranking.auroc(drawn) for ranking in each])
        f1 = classification.per_class(confusion).f1
        return np.array([classification.accuracy(confusion), mean_of_defined(areas), mean_of_defined(f1)])

    return numbers


def abnormality_numbers(scores: Floats, abnormal: NDArray[np.bool_], groups: Ints) -> Numbers:
    """ABNORMALITY of probabilities [N], truth [N] and patients [N]."""
    ranking = WeightedRanking(scores, abnormal, groups)
    cells = abnormal.astype(np.int64) * 2 + (scores > THRESHOLD)

    def numbers(drawn: Ints) -> Floats:
        confusion = _confusion(cells, drawn[groups], 2)
        return np.array([
            classification.cohen_kappa(confusion), ranking.auroc(drawn), classification.accuracy(confusion)
        ])  # fmt: skip

    return numbers


def score_numbers(predicted: Floats, given: Floats, groups: Ints) -> Numbers:
    """SCORE of predicted and given scores [N] and patients [N]."""
    error = predicted - given

    def numbers(drawn: Ints) -> Floats:
        weights = drawn[groups].astype(np.float64)
        total, squares = weights.sum(), weights @ error**2
        spread = weights @ (given - ratio(weights @ given, total)) ** 2 if total else 0.0
        return np.array([
            ratio(weights @ np.abs(error), total),
            math.sqrt(squares / total) if total else math.nan,
            1 - squares / spread if spread > 0 else math.nan,
        ])  # fmt: skip

    return numbers


def _confusion(cells: Ints, weights: Ints, classes: int) -> Ints:
    """The confusion matrix [C, C] of samples in `cells` [N] (truth * C + prediction) that count `weights` [N] times."""
    counts = np.bincount(cells, weights, classes * classes)  # whole numbers in float64: exact
    return counts.astype(np.int64).reshape(classes, classes)
