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
from medtrain.metrics.calibration_sums import by_patient, class_errors, class_sums, label_errors, label_sums
from medtrain.metrics.multilabel_report import known_cells
from medtrain.metrics.numbers import Floats, Ints, mean_of_defined, ratio
from medtrain.metrics.score_report import NUMBERS as SCORE
from medtrain.metrics.score_report import Scored
from medtrain.metrics.weighted_ranking import WeightedRanking

Numbers = Callable[[Ints], Floats]
# Every number of the reports but the loss, whose weights and smoothing are each run's own. The main ones come first.
MULTILABEL = (
    "macro_auroc", "macro_average_precision", "micro_auroc", "micro_average_precision", "macro_f1", "macro_precision",
    "macro_recall", "macro_ece", "micro_f1", "micro_precision", "micro_recall", "micro_ece", "accuracy",
)  # fmt: skip
MULTICLASS = ("accuracy", "macro_auroc", "macro_f1", "macro_precision", "macro_recall", "ece", "brier")
ABNORMALITY = ("kappa", "auroc", "accuracy", "sensitivity", "specificity", "macro_kappa", "macro_auroc")
__all__ = ["ABNORMALITY", "MULTICLASS", "MULTILABEL", "SCORE"]


def multilabel_numbers(scores: Floats, labels: NDArray[Any], groups: Ints, thresholds: Floats) -> Numbers:
    """MULTILABEL, then average precision and F1 of each label: of probabilities [N, L], `labels` [N, L], patients [N]
    and the `thresholds` [L] from which on a label is predicted."""
    known, positive = known_cells(labels), labels == PRESENT
    each = [WeightedRanking(scores[own, i], positive[own, i], groups[own]) for i, own in enumerate(known.T)]
    people = np.broadcast_to(groups[:, None], known.shape)[known]
    pooled = WeightedRanking(scores[known], positive[known], people)
    count = int(groups.max(initial=-1)) + 1
    label = np.broadcast_to(np.arange(known.shape[1]), known.shape)[known]
    cells = by_patient(people, label * 4 + positive[known] * 2 + (scores >= thresholds)[known],
                       np.ones(len(people)), (count, known.shape[1] * 4))  # fmt: skip
    surplus = label_sums(scores, labels, groups)

    def numbers(drawn: Ints) -> Floats:
        areas, precisions = np.array([ranking(drawn) for ranking in each]).T
        counts = (drawn @ cells).reshape(-1, 4)
        rows = np.array([_of_label(*own) for own in counts])
        macro_ece, micro_ece = label_errors(drawn @ surplus, counts.sum(1))
        together = _of_label(*counts.sum(0))
        return np.array([
            mean_of_defined(areas), mean_of_defined(precisions), *pooled(drawn), *map(mean_of_defined, rows.T),
            macro_ece, *together, micro_ece,
            ratio(counts[:, [0, 3]].sum(), counts.sum()), *precisions, *rows[:, 0],
        ])  # fmt: skip

    return numbers


def _of_label(rejected: float, alarms: float, missed: float, hits: float) -> tuple[float, float, float]:
    """F1, precision and recall; F1 and recall are undefined without a positive."""
    recall = ratio(hits, hits + missed)
    f1 = ratio(2 * hits, 2 * hits + alarms + missed) if hits + missed else math.nan
    return f1, ratio(hits, hits + alarms), recall


def multiclass_numbers(scores: Floats, targets: Ints, groups: Ints) -> Numbers:
    """MULTICLASS of probabilities [N, C], true classes [N] and patients [N]."""
    classes = scores.shape[1]
    ranked = classification.rankable(scores)
    each = [WeightedRanking(ranked[:, c], targets == c, groups) for c in range(classes)]
    cells, surplus = targets * classes + scores.argmax(1), class_sums(scores, targets, groups)
    distances = np.sum((scores - np.eye(classes)[targets]) ** 2, axis=1)

    def numbers(drawn: Ints) -> Floats:
        weights = drawn[groups]
        confusion, total = _confusion(cells, weights, classes), weights.sum()
        areas = np.array([ranking.auroc(drawn) for ranking in each])
        own = classification.per_class(confusion)
        return np.array([
            classification.accuracy(confusion), *map(mean_of_defined, (areas, own.f1, own.precision, own.recall)),
            *class_errors(drawn @ surplus, total), ratio(weights @ distances, total),
        ])  # fmt: skip

    return numbers


def abnormality_numbers(
    scores: Floats, abnormal: NDArray[np.bool_], groups: Ints, types: NDArray[np.bool_] | None = None
) -> Numbers:
    """ABNORMALITY, then the kappa of each type: of probabilities [N], truth [N], patients [N] and of which study types
    each is, `types` [N, T] (without them, all are of one)."""
    of = np.ones((len(scores), 1), bool) if types is None else types
    ranking = WeightedRanking(scores, abnormal, groups)
    each = [WeightedRanking(scores[own], abnormal[own], groups[own]) for own in of.T]
    cells = abnormal.astype(np.int64) * 2 + (scores > THRESHOLD)

    def numbers(drawn: Ints) -> Floats:
        weights = drawn[groups]
        confusion = _confusion(cells, weights, 2)
        specificity, sensitivity = classification.per_class(confusion).recall
        kappas = np.array([classification.cohen_kappa(_confusion(cells[own], weights[own], 2)) for own in of.T])
        areas = np.array([ranked.auroc(drawn) for ranked in each])
        return np.array([
            classification.cohen_kappa(confusion), ranking.auroc(drawn), classification.accuracy(confusion),
            sensitivity, specificity, mean_of_defined(kappas), mean_of_defined(areas), *kappas,
        ])  # fmt: skip

    return numbers


def score_numbers(predicted: Floats, given: Floats, groups: Ints) -> Numbers:
    """SCORE of predicted and given scores [N] and patients [N]."""
    scored = Scored(predicted, given)

    def numbers(drawn: Ints) -> Floats:
        return scored(drawn[groups].astype(np.float64))

    return numbers


def _confusion(cells: Ints, weights: Ints, classes: int) -> Ints:
    """The confusion matrix [C, C] of samples in `cells` [N] (truth * C + prediction) that count `weights` [N] times."""
    counts = np.bincount(cells, weights, classes * classes)  # whole numbers in float64: exact
    return counts.astype(np.int64).reshape(classes, classes)
