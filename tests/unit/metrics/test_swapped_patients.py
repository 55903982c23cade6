"""metrics.swapped_patients: the test of calibration errors against every swap that there is, and on many data sets."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from clustered_scores import Scored, drawn_scores
from numpy.typing import NDArray

from medtrain.metrics.calibration_sums import class_errors, class_sums, label_errors, label_sums
from medtrain.metrics.multiclass_report import multiclass_report
from medtrain.metrics.multilabel_report import multilabel_report
from medtrain.metrics.swapped_patients import swap_test

SETS = 200


def sums_of(own: Scored, higher: float = 0.0) -> list[NDArray[np.float64]]:
    """Of both models, whose second says too much by `higher` (of the logit)."""
    truth = own.positive[:, None].astype(np.int8)
    odds = own.second / (1 - own.second) * np.exp(higher)
    return [label_sums(scores[:, None], truth, own.patients) for scores in (own.first, odds / (1 + odds))]


def p_of(own: Scored, rounds: int = 199, higher: float = 0.0) -> float:
    cells = np.array([float(len(own.patients))])
    return float(swap_test(*sums_of(own, higher), lambda sums: label_errors(sums, cells), rounds)[1])


def test_errors_of_the_sums_are_those_of_the_reports() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(-1, 2, (80, 3)).astype(np.int8), rng.random((80, 3))
    labels[:, 2], people = -1, rng.integers(10, size=80)
    report = multilabel_report(scores, labels, ("a", "b", "c"))
    known = (labels >= 0).sum(0).astype(float)
    found = label_errors(label_sums(scores, labels, people).sum(0), known)
    assert found == pytest.approx((report["macro_ece"], report["micro_ece"]), abs=1e-12)
    shares, targets = scores / scores.sum(1, keepdims=True), rng.integers(3, size=80)
    report = multiclass_report(shares, targets, ("a", "b", "c"), people)
    found = class_errors(class_sums(shares, targets, people).sum(0), 80)
    assert found == pytest.approx([report["ece"]], abs=1e-12)


def test_p_is_the_share_of_all_swaps_that_lie_as_far_apart() -> None:
    for seed in range(5):
        own = drawn_scores(seed, patients=8)
        first, second = sums_of(own)
        cells = np.array([float(len(own.patients))])
        both = [
            [np.where(swap, other, one).sum(0) for one, other in ((first, second), (second, first))]
            for swap in (np.array(coins)[:, None] for coins in product((False, True), repeat=len(first)))
        ]
        apart = [abs(label_errors(other, cells)[0] - label_errors(one, cells)[0]) for one, other in both]
        exact = np.mean([value >= apart[0] - 1e-12 for value in apart])
        found = swap_test(first, second, lambda sums, cells=cells: label_errors(sums, cells), 4000, seed)
        assert found[0] == pytest.approx(exact, abs=0.03)


def test_of_nulls_one_in_twenty_is_rejected_and_a_difference_is_found() -> None:
    sets = [drawn_scores(seed, patients=60) for seed in range(SETS)]
    assert 0.02 <= np.mean([p_of(own) < 0.05 for own in sets]) <= 0.09
    assert np.mean([p_of(own, higher=1.5) < 0.05 for own in sets[:50]]) > 0.9


def test_models_that_say_the_same_and_what_is_undefined() -> None:
    own = drawn_scores(3, patients=20)
    first, _ = sums_of(own)
    assert swap_test(first, first, lambda sums: class_errors(sums, 9), 99).tolist() == [1.0]
    nothing = label_errors(np.zeros(30), np.zeros(2))
    assert np.isnan(nothing).all()
    assert np.isnan(swap_test(first, first, lambda sums: class_errors(sums * np.nan, 1), 9)).all()
