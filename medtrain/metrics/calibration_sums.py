"""Calibration errors from sums by patient: of score less truth, in each bin of the score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medtrain.datasets.labels import PRESENT
from medtrain.metrics.calibration import BINS
from medtrain.metrics.multilabel_report import known_cells
from medtrain.metrics.numbers import Floats, Ints

OF_LABELS = ("macro_ece", "micro_ece")
OF_CLASSES = ("ece",)


def by_patient(groups: Ints, places: Ints, values: Floats, shape: tuple[int, int]) -> Floats:
    """The sums [G, P] of `values` [N] at `places` [N] of each patient `groups` [N]."""
    sums: Floats = np.bincount(groups * shape[1] + places, values, shape[0] * shape[1]).astype(np.float64)
    return sums.reshape(shape)


def label_sums(scores: Floats, labels: NDArray[np.int8], groups: Ints) -> Floats:
    """[G, L * BINS] of probabilities [N, L], where `labels` [N, L] are known; `groups` [N] are patients from 0."""
    known = known_cells(labels)
    label = np.broadcast_to(np.arange(known.shape[1]), known.shape)[known]
    people = np.broadcast_to(groups[:, None], known.shape)[known]
    bins = label * BINS + np.minimum((scores[known] * BINS).astype(np.int64), BINS - 1)
    shape = int(groups.max(initial=-1)) + 1, known.shape[1] * BINS
    return by_patient(people, bins, scores[known] - (labels == PRESENT)[known], shape)


def label_errors(sums: Floats, known: Floats) -> Floats:
    """OF_LABELS [..., 2] of sums [..., L * BINS], and of each label how many are known [..., L]: the mean over the
    labels that have any, and of all cells together."""
    gaps = sums.reshape(*sums.shape[:-1], -1, BINS)
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.abs(gaps).sum(-1) / known
        macro = np.nansum(each, -1) / (~np.isnan(each)).sum(-1)
        micro = np.abs(gaps.sum(-2)).sum(-1) / known.sum(-1)
    return np.stack([macro, micro], -1)


def class_sums(scores: Floats, targets: Ints, groups: Ints) -> Floats:
    """[G, BINS] of probabilities [N, C], by the confidence in the likeliest class."""
    confidence = scores.max(1, initial=0)
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence, "left")
    shape = int(groups.max(initial=-1)) + 1, BINS
    return by_patient(groups, bins, confidence - (scores.argmax(1) == targets), shape)


def class_errors(sums: Floats, samples: float) -> Floats:
    """OF_CLASSES [..., 1] of sums [..., BINS]; NaN without a sample."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(sums).sum(-1, keepdims=True) / samples)
