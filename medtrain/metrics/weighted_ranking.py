"""AUROC and average precision of samples that count as often as their patient is drawn."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from medtrain.metrics.classification import binary
from medtrain.metrics.numbers import Floats, Ints, ratio


class WeightedRanking:
    """Sorts the scores [N] once; each call only counts."""

    def __init__(self, scores: Floats, positive: NDArray[np.bool_], groups: Ints) -> None:
        values, truth = binary(scores, positive)
        order = np.argsort(-values, kind="stable")
        last_of_tie = np.append(values[order][1:] != values[order][:-1], True)[: len(order)]
        self._groups = groups[order]
        self._positive = truth[order].astype(np.int64)
        self._borders = np.concatenate([[0], np.flatnonzero(last_of_tie) + 1])  # between the distinct scores

    def auroc(self, drawn: Ints) -> float:
        """The area, where each sample counts as often as `drawn` [G] says of its group; NaN where it is undefined."""
        return self._area(*self._counts(drawn))

    def __call__(self, drawn: Ints) -> tuple[float, float]:
        """The area and the average precision."""
        hits, counted = self._counts(drawn)
        return self._area(hits, counted), self._average_precision(hits, counted)

    def _counts(self, drawn: Ints) -> tuple[Ints, Ints]:
        """How many positives, and how many samples, there are from the highest score down to each border."""
        weights = drawn[self._groups]
        sums = np.zeros((2, len(weights) + 1), np.int64)
        np.cumsum(weights * self._positive, out=sums[0, 1:])
        np.cumsum(weights, out=sums[1, 1:])
        return sums[0, self._borders], sums[1, self._borders]

    @staticmethod
    def _area(hits: Ints, counted: Ints) -> float:
        alarms = counted - hits
        twice = (alarms[1:] - alarms[:-1]) @ (hits[1:] + hits[:-1])  # a tie counts half
        return ratio(twice, 2 * hits[-1] * alarms[-1])

    @staticmethod
    def _average_precision(hits: Ints, counted: Ints) -> float:
        if not hits[-1]:
            return math.nan
        return float((hits[1:] - hits[:-1]) @ (hits[1:] / np.maximum(counted[1:], 1)) / hits[-1])
