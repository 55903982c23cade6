"""A paired test of calibration errors: what their difference would be if the two models were swapped in any patients.

A bootstrap of patients finds too few differences of a calibration error. The error is a sum of distances from 0, and
each resample adds noise to bins whose own distance is mostly noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medtrain.metrics.calibration_sums import (
    OF_CLASSES,
    OF_LABELS,
    class_errors,
    class_sums,
    label_errors,
    label_sums,
)
from medtrain.metrics.multilabel_report import known_cells
from medtrain.metrics.numbers import Floats, Ints

Errors = Callable[[Floats], Floats]
"""Sums of score less truth by bin [..., P] -> K calibration errors [..., K]."""


@dataclass
class CalibrationErrors:
    """The calibration errors `names` of several models: the `sums` by patient of each, and what makes the errors of
    them."""

    names: tuple[str, ...]
    sums: list[Floats]
    errors: Errors

    @classmethod
    def of_labels(cls, models: Sequence[Floats], labels: NDArray[np.int8], groups: Ints) -> CalibrationErrors:
        """Of the probabilities [N, L] of each model, `labels` [N, L] and patients [N] from 0."""
        cells = known_cells(labels).sum(0).astype(np.float64)
        sums = [label_sums(scores, labels, groups) for scores in models]
        return cls(OF_LABELS, sums, lambda own: label_errors(own, cells))

    @classmethod
    def of_classes(cls, models: Sequence[Floats], targets: Ints, groups: Ints) -> CalibrationErrors:
        """Of the probabilities [N, C] of each model, true classes [N] and patients [N] from 0."""
        sums = [class_sums(scores, targets, groups) for scores in models]
        return cls(OF_CLASSES, sums, lambda own: class_errors(own, len(targets)))

    def p_values(self, first: int, second: int, rounds: int, seed: int = 0) -> dict[str, float]:
        """name -> the p of two of the models, see swap_test."""
        found = swap_test(self.sums[first], self.sums[second], self.errors, rounds, seed)
        return dict(zip(self.names, found.tolist(), strict=True))


def swap_test(first: Floats, second: Floats, errors: Errors, rounds: int, seed: int = 0) -> Floats:
    """Two-sided p [K] of no difference between K calibration errors of two models, from the sums of each patient
    [G, P].

    In each round a coin decides for each patient which model's scores are whose (approximate randomization: Noreen,
    1989): where either model could have given the scores of the other, every outcome is as likely as the one that was
    seen. The data themselves count as one more round (Davison and Hinkley, 1997). NaN where an error is undefined. The
    Philox seed makes the coins the same on every machine.
    """
    apart = second - first
    one, other = first.sum(0), second.sum(0)
    observed = np.abs(errors(other) - errors(one))
    coins = np.random.Generator(np.random.Philox(seed)).integers(2, size=(rounds, len(first)), dtype=np.int8)
    moved = coins.astype(np.float64) @ apart
    drawn = np.abs(errors(other - moved) - errors(one + moved))
    least = observed * (1 - 1e-12)  # sums in another order are the same sums
    p = (1 + (drawn >= least).sum(0)) / (1 + rounds)
    return np.where(np.isnan(observed), np.nan, p)
