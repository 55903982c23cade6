"""Numbers of a problem with several labels, each of which may be unknown: only known cells count."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtrain import metrics
from medtrain.labels import ABSENT, PRESENT
from medtrain.metrics import plain

Floats = NDArray[np.float64]


def multilabel_report(
    scores: ArrayLike, labels: ArrayLike, names: tuple[str, ...], gamma: float = 0.0, threshold: float = 0.5
) -> dict[str, Any]:
    """Every number of a multi-label problem, as plain Python numbers ready for JSON; None where it is undefined.

    `scores` are probabilities [N, L], `labels` int8 [N, L] of 1, 0 or anything else (unknown, or soft). A label counts
    where it is known; `macro` numbers are the mean over the labels where they are defined, and `macro_labels` says over
    how many AUROCs; `micro` numbers pool the known cells of all labels. `accuracy` is the share of the known cells that
    are right (one minus the Hamming loss), `loss` their mean focal loss (`gamma` 0: cross entropy).
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(labels)
    if values.shape != truth.shape or values.ndim != 2 or values.shape[1] != len(names):
        raise ValueError(f"scores has shape {values.shape}, labels {truth.shape}; expected [N, {len(names)}] of both")
    known = (truth == PRESENT) | (truth == ABSENT)
    positive = truth == PRESENT
    rows = {
        name: _of_one_label(values[known[:, i], i], positive[known[:, i], i], threshold) for i, name in enumerate(names)
    }
    pooled = _of_one_label(values[known], positive[known], threshold)
    right = (values >= threshold) == positive
    return {
        "samples": len(values),
        "known": int(known.sum()),
        "loss": plain(_mean(_focal_loss(values[known], positive[known], gamma))),
        "accuracy": plain(_mean(right[known])),
        "macro_auroc": _macro(rows, "auroc"),
        "macro_labels": sum(row["auroc"] is not None for row in rows.values()),
        **{f"macro_{key}": _macro(rows, key) for key in ("average_precision", "precision", "recall", "f1")},
        **{f"micro_{key}": pooled[key] for key in ("auroc", "average_precision", "precision", "recall", "f1")},
        "per_class": rows,
    }


def _of_one_label(scores: Floats, positive: NDArray[np.bool_], threshold: float) -> dict[str, int | float | None]:
    """The numbers of one label over its known cells, [K] each."""
    predicted = scores >= threshold
    confusion = metrics.confusion_matrix(positive.astype(np.int64), predicted.astype(np.int64), 2)
    each = metrics.per_class(confusion)
    return {
        "known": len(scores),
        "positives": int(positive.sum()),
        "auroc": plain(metrics.auroc(scores, positive)),
        "average_precision": plain(metrics.average_precision(scores, positive)),
        "precision": plain(each.precision[1]),
        "recall": plain(each.recall[1]),
        "f1": plain(each.f1[1]),
    }


def _focal_loss(scores: Floats, positive: NDArray[np.bool_], gamma: float) -> Floats:
    likely = np.where(positive, scores, 1 - scores)
    return -np.log(np.maximum(likely, 1e-12)) * (1 - likely) ** gamma


def _macro(rows: dict[str, dict[str, int | float | None]], key: str) -> float | None:
    return plain(_mean(np.array([row[key] for row in rows.values() if row[key] is not None], np.float64)))


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else math.nan
