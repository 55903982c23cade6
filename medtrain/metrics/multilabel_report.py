"""Numbers of a problem with several labels, each of which may be unknown: only known cells count."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtrain.datasets.labels import ABSENT, PRESENT
from medtrain.metrics import classification
from medtrain.metrics.bootstrap import bootstrap_aurocs
from medtrain.metrics.calibration import at_temperature, best_temperature, calibration_error
from medtrain.metrics.intervals import independent_pairs, stated
from medtrain.metrics.numbers import plain

Floats = NDArray[np.float64]
LEAST = np.finfo(np.float64).tiny  # a likelihood whose logarithm is finite
AVERAGED = ("auroc", "average_precision", "precision", "recall", "f1", "ece")


def multilabel_report(
    scores: ArrayLike,
    labels: ArrayLike,
    names: tuple[str, ...],
    gamma: float = 0.0,
    thresholds: tuple[float, ...] = (),
    weights: tuple[tuple[float, float], ...] = (),
    unlearned: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Every number of a multi-label problem, as plain Python numbers ready for JSON; None where it is undefined.

    `scores` are probabilities [N, L], `labels` int8 [N, L] of 1, 0 or anything else (unknown, or soft). A label counts
    where it is known; `macro` numbers are the mean over the labels where they are defined (a label without a positive
    has no AUROC, average precision, recall or F1), and `macro_labels` says over how many each; `micro` numbers pool the
    known cells of all labels. `accuracy` is the share of the known cells that are right (one minus the Hamming loss),
    `loss` their mean focal loss (`gamma` 0: cross entropy; `weights` [L, 2] as in training). A label is predicted
    present from its threshold on (0.5 where there is none). Labels that are `unlearned` count as unknown in everything
    but `accuracy` and `loss`, which are over the same cells as those of the training.
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(labels)
    if values.shape != truth.shape or values.ndim != 2 or values.shape[1] != len(names):
        raise ValueError(f"scores has shape {values.shape}, labels {truth.shape}; expected [N, {len(names)}] of both")
    told, positive = known_cells(truth), truth == PRESENT
    known = told & ~np.isin(names, list(unlearned))
    limits = thresholds or (0.5,) * len(names)
    called = values >= np.array(limits)
    rows = {
        name: {"threshold": limits[i], **_numbers(values[own, i], positive[own, i], called[own, i])}
        for i, (name, own) in enumerate(zip(names, known.T, strict=True))
    }
    pooled = _numbers(values[known], positive[known], called[known])
    return {
        "samples": len(values),
        "loss": plain(_mean(_focal_loss(values, positive, gamma, weights)[told])),
        "accuracy": plain(_mean((called == positive)[told])),
        **{f"macro_{key}": _macro(rows, key) for key in AVERAGED},
        "macro_labels": {key: sum(row[key] is not None for row in rows.values()) for key in AVERAGED},
        **{f"micro_{key}": number for key, number in pooled.items()},
        "per_class": rows,
    }


def with_intervals(
    report: dict[str, Any], scores: ArrayLike, labels: ArrayLike, groups: ArrayLike, seed: int = 0
) -> dict[str, Any]:
    """A report with an `auroc_interval` for each label, `macro_` and `micro_auroc_interval`: 95 % by `groups` [N]
    (patients), see bootstrap.bootstrap_aurocs."""
    truth, people = np.asarray(labels), np.asarray(groups)
    positive, known = truth == PRESENT, known_cells(truth)
    ends = bootstrap_aurocs(scores, positive, known, people, seed)
    rows = {}
    for i, (name, row) in enumerate(report["per_class"].items()):
        area, pairs = row["auroc"], independent_pairs(people[known[:, i]], positive[known[:, i], i])
        rows[name] = {**row, **stated("auroc", math.nan if area is None else area, ends.labels[i], pairs)}
    return {
        **report,
        "macro_auroc_interval": _interval(ends.macro),
        "micro_auroc_interval": _interval(ends.micro),
        "per_class": rows,
    }


def with_calibration(
    report: dict[str, Any], scores: ArrayLike, labels: ArrayLike, temperature: float
) -> dict[str, Any]:
    """A report with the `temperature` of a run and, for each label, the calibration error that is left with it."""
    values, truth = at_temperature(scores, temperature), np.asarray(labels)
    rows = {}
    for i, (name, row) in enumerate(report["per_class"].items()):
        own = known_cells(truth[:, i])
        left = calibration_error(values[own, i], truth[own, i] == PRESENT)
        rows[name] = {**row, "ece_at_temperature": plain(left)}
    return {
        **report,
        "temperature": temperature,
        "macro_ece_at_temperature": _macro(rows, "ece_at_temperature"),
        "per_class": rows,
    }


def chosen_temperature(scores: ArrayLike, labels: ArrayLike) -> float:
    """One temperature for all labels, of their known cells (see calibration.best_temperature)."""
    truth = np.asarray(labels)
    known = known_cells(truth)
    return best_temperature(np.asarray(scores, np.float64)[known], (truth == PRESENT)[known])


def best_thresholds(scores: ArrayLike, labels: ArrayLike) -> tuple[float, ...]:
    """For each label of scores [N, L] the threshold with the highest F1 over its known cells; of equals the highest.

    0.5 where a label has no positive.
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(labels)
    return tuple(
        _best_threshold(values[own, i], truth[own, i] == PRESENT) for i, own in enumerate(known_cells(truth).T)
    )


def _best_threshold(scores: Floats, positive: NDArray[np.bool_]) -> float:
    if not positive.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    hits, called = np.cumsum(positive[order]), np.arange(1, len(order) + 1)
    f1 = 2 * hits / (called + positive.sum())
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)  # a threshold calls all of the same score
    return float(scores[order][np.argmax(np.where(last_of_tie, f1, -1))])


def known_cells(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a label is present or absent for sure."""
    return np.isin(labels, (PRESENT, ABSENT))


def _numbers(scores: Floats, positive: NDArray[np.bool_], called: NDArray[np.bool_]) -> dict[str, int | float | None]:
    """The numbers of K known cells, [K] each."""
    confusion = classification.confusion_matrix(positive.astype(np.int64), called.astype(np.int64), 2)
    each = classification.per_class(confusion)
    return {
        "known": len(scores),
        "positives": int(positive.sum()),
        "auroc": plain(classification.auroc(scores, positive)),
        "average_precision": plain(classification.average_precision(scores, positive)),
        "ece": plain(calibration_error(scores, positive)),
        "precision": plain(each.precision[1]),
        "recall": plain(each.recall[1]),
        "f1": plain(each.f1[1]) if positive.any() else None,
    }


def _interval(ends: Floats) -> list[float | None]:
    return [plain(end) for end in ends]


def _focal_loss(
    scores: Floats, positive: NDArray[np.bool_], gamma: float, weights: tuple[tuple[float, float], ...]
) -> Floats:
    one, zero = np.array(weights or [(1.0, 1.0)]).T
    likely = np.where(positive, np.maximum(scores, LEAST), np.maximum(1 - scores, classification.LEAST_BESIDE_1))
    losses = -np.log(likely) * np.where(positive, 1 - scores, scores) ** gamma
    return losses * np.where(positive, one, zero)  # type: ignore[no-any-return]


def _macro(rows: dict[str, dict[str, Any]], key: str) -> float | None:
    return plain(_mean(np.array([row[key] for row in rows.values() if row[key] is not None], np.float64)))


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else math.nan
