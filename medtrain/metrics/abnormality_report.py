"""Numbers of a problem with one question, normal or abnormal, about images of several study types."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtrain.datasets.labels import ABSENT, PRESENT
from medtrain.metrics import classification, numbers
from medtrain.metrics.bootstrap import bootstrap_aurocs, bootstrap_kappa
from medtrain.metrics.intervals import independent_pairs, stated
from medtrain.metrics.multilabel_report import known_cells
from medtrain.metrics.numbers import Floats, Ints, plain

THRESHOLD = 0.5  # a study is called abnormal above it (Rajpurkar et al., 2018)


def abnormality_report(
    scores: ArrayLike,
    labels: ArrayLike,
    names: tuple[str, ...],
    groups: ArrayLike,
    weights: tuple[tuple[float, float], ...],
    seed: int = 0,
) -> dict[str, Any]:
    """Every number of it, as plain Python numbers ready for JSON; NaN becomes None.

    `scores` are probabilities of abnormal [N], `labels` [N, L] say 1 (abnormal) or 0 (normal) in the column of the
    row's own study type, and anything below in the others; `groups` [N] are patients. `weights` are those of the loss,
    see `weighted_loss`. Intervals hold 95 %, by patient. Rows of which nothing is known count nowhere.
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(labels)
    if values.ndim != 1 or truth.shape != (len(values), len(names)):
        raise ValueError(f"scores has shape {values.shape}, labels {truth.shape}; expected [N] and [N, {len(names)}]")
    known = known_cells(truth)
    told = known.any(1)
    values, truth, known, groups = values[told], truth[told], known[told], np.asarray(groups)[told]
    abnormal, called = (truth == PRESENT).any(1), values > THRESHOLD
    spread = np.repeat(values[:, None], len(names), 1)
    areas = bootstrap_aurocs(spread, truth == PRESENT, known, groups, seed)

    def row(own: NDArray[np.bool_], area: Floats) -> dict[str, Any]:
        found = _numbers(values[own], abnormal[own], called[own])
        interval = bootstrap_kappa(abnormal[own], called[own], groups[own], seed)
        whole = math.nan if found["auroc"] is None else found["auroc"]
        return {
            **found,
            "kappa_interval": [plain(end) for end in interval],
            **stated("auroc", whole, area, independent_pairs(groups[own], abnormal[own])),
        }

    each = {name: row(known[:, i], areas.labels[i]) for i, name in enumerate(names)}
    return {
        "loss": plain(weighted_loss(values, truth, weights)),
        **row(np.ones(len(values), bool), areas.micro),
        "macro_kappa": plain(numbers.mean_of_defined(np.array([own["kappa"] for own in each.values()], np.float64))),
        "macro_auroc": plain(numbers.mean_of_defined(np.array([own["auroc"] for own in each.values()], np.float64))),
        "per_class": each,
    }


def weighted_loss(scores: Floats, labels: NDArray[Any], weights: tuple[tuple[float, float], ...]) -> float:
    """Mean of -W_T1 y log p - W_T0 (1 - y) log(1 - p) over the rows; `weights` are (W_T1, W_T0) of each column."""
    present, absent = labels == PRESENT, labels == ABSENT
    one, zero = np.array(weights, np.float64).reshape(-1, 2).T
    likely = np.maximum(scores, np.finfo(np.float64).tiny)[:, None]
    unlikely = np.maximum(1 - scores, classification.LEAST_BESIDE_1)[:, None]
    losses = np.where(present, -one * np.log(likely), 0.0) + np.where(absent, -zero * np.log(unlikely), 0.0)
    return numbers.ratio(losses.sum(), len(scores))


def _numbers(scores: Floats, abnormal: NDArray[np.bool_], called: NDArray[np.bool_]) -> dict[str, Any]:
    confusion = classification.confusion_matrix(abnormal.astype(np.int64), called.astype(np.int64), 2)
    specificity, sensitivity = classification.per_class(confusion).recall
    return {
        "samples": len(scores),
        "abnormal": int(abnormal.sum()),
        "accuracy": plain(classification.accuracy(confusion)),
        "kappa": plain(classification.cohen_kappa(confusion)),
        "auroc": plain(classification.auroc(scores, abnormal)),
        "sensitivity": plain(sensitivity),
        "specificity": plain(specificity),
        "confusion": confusion.tolist(),
        "confusion_normalised": [[plain(share) for share in own] for own in _by_row(confusion)],
    }


def _by_row(confusion: Ints) -> list[list[float]]:
    return [[numbers.ratio(count, own.sum()) for count in own] for own in confusion]
