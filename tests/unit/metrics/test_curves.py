"""ROC and precision-recall curves, their bands and operating points, against scikit-learn and counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from medtrain.metrics.bootstrap import bootstrap_aurocs
from medtrain.metrics.curves import AT, BINS, GRID, Curves, curves_of


def drawn(samples: int, seed: int = 0, digits: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with ties, what is positive, and patients of about three images."""
    generator = np.random.default_rng(seed)
    positive = generator.random(samples) < 0.3
    scores = np.round(1 / (1 + np.exp(-(generator.normal(size=samples) + 1.5 * positive))), digits)
    return scores, positive, generator.integers(samples // 3, size=samples)


def one(scores: np.ndarray, positive: np.ndarray, groups: np.ndarray, rounds: int = 1000) -> Curves:
    (found,) = curves_of(scores[:, None], positive[:, None], np.ones((len(scores), 1), bool), groups, rounds=rounds)
    assert found is not None
    return found


def repeated(scores: np.ndarray, positive: np.ndarray, groups: np.ndarray, rounds: int) -> list[tuple[np.ndarray, ...]]:
    """The samples of each round, one behind the other, as the generator of all intervals draws their patients."""
    _, group = np.unique(groups, return_inverse=True)
    count = group.max() + 1
    generator = np.random.Generator(np.random.Philox(0))
    found = []
    for _ in range(rounds):
        times = np.bincount(generator.integers(count, size=count), minlength=count)[group]
        found.append((np.repeat(scores, times), np.repeat(positive, times)))
    return found


def test_the_points_are_those_of_scikit_learn() -> None:
    scores, positive, groups = drawn(120)
    found = one(scores, positive, groups, rounds=1)
    rate, recall, _ = reference.roc_curve(positive, scores, drop_intermediate=False)
    assert np.array_equal(found.roc[0], rate) and np.array_equal(found.roc[1], recall)
    precision, recalled, _ = reference.precision_recall_curve(positive, scores)
    there = list(zip(recalled, precision, strict=True))
    assert all(point in there for point in zip(*found.precision_recall, strict=True))
    assert found.precision_recall[0][-1] == 1 and found.precision_recall[0][0] == recalled[-2]
    assert (found.positives, found.negatives) == (positive.sum(), (~positive).sum())


def test_bands_and_intervals_are_those_of_samples_that_are_repeated() -> None:
    """A round that counts must be a round in which patients' images are really there several times."""
    scores, positive, groups = drawn(90)
    found = one(scores, positive, groups, rounds=60)
    share, rates, precisions, values = np.linspace(0, 1, GRID), [], [], []
    for own, true in repeated(scores, positive, groups, 60):
        rate, recall, _ = reference.roc_curve(true, own, drop_intermediate=False)
        rates.append(np.interp(share, rate, recall))
        precision, recalled, _ = reference.precision_recall_curve(true, own)
        rising = recalled[-2::-1]
        at = [int(np.flatnonzero(rising >= level - 1e-12)[0]) for level in share[1:]]
        precisions.append(precision[-2::-1][at])
        sure = [recall[rate <= 1 - level + 1e-12].max() for level in AT]
        values.append(sure + [(1 - rate)[recall >= level - 1e-12].max() for level in AT])
    for band, rounds in ((found.roc_band, rates), (found.precision_band, precisions)):
        low, high = np.quantile(rounds, (0.025, 0.975), axis=0)
        assert band.low == pytest.approx(low) and band.high == pytest.approx(high)
    low, high = np.quantile(values, (0.025, 0.975), axis=0)
    assert [point.low for point in found.points] == pytest.approx(low)
    assert [point.high for point in found.points] == pytest.approx(high)


def test_operating_points_hold_at_their_thresholds() -> None:
    scores, positive, groups = drawn(400)
    found = one(scores, positive, groups, rounds=2)
    assert [(point.number, point.at) for point in found.points] == [
        ("sensitivity", 0.90), ("sensitivity", 0.95), ("specificity", 0.90), ("specificity", 0.95)
    ]  # fmt: skip
    for point in found.points:
        called = scores >= point.threshold
        numbers = {"sensitivity": called[positive].mean(), "specificity": (~called[~positive]).mean()}
        assert numbers.pop(point.number) == pytest.approx(point.value)
        assert numbers.popitem()[1] >= point.at - 1e-12


def test_the_interval_of_auroc_is_that_of_every_other_report() -> None:
    scores, positive, groups = drawn(150, digits=12)
    known = np.ones((150, 1), bool)
    (low, high), *_ = bootstrap_aurocs(scores[:, None], positive[:, None], known, groups, 0).labels.tolist()
    assert one(scores, positive, groups).auroc_interval == pytest.approx((low, high))


def test_many_scores_are_binned_and_hardly_differ() -> None:
    scores, positive, groups = drawn(6000, digits=12)
    assert len(np.unique(scores)) > BINS
    (low, high), *_ = bootstrap_aurocs(scores[:, None], positive[:, None], np.ones((6000, 1), bool), groups, 0).labels
    found = one(scores, positive, groups)
    assert found.auroc_interval == pytest.approx((low, high), abs=1e-4)
    assert len(found.roc[0]) < 200 and found.roc[0][[0, -1]].tolist() == [0, 1]


def test_each_label_is_of_what_is_known_of_it() -> None:
    scores, positive, groups = drawn(60)
    both, known = np.column_stack([scores, scores, scores]), np.ones((60, 3), bool)
    truth = np.column_stack([positive, positive, np.zeros(60, bool)])
    known[:20, 1] = False
    first, second, none = curves_of(both, truth, known, groups, rounds=5)
    assert none is None and first is not None and second is not None
    assert first.positives + first.negatives == 60 and second.positives + second.negatives == 40


def test_one_patient_says_nothing_of_the_spread() -> None:
    scores, positive, _ = drawn(60)
    found = one(scores, positive, np.zeros(60))
    assert np.isnan(found.roc_band.low).all() and math.isnan(found.auroc_interval[0])
    assert math.isnan(found.points[0].low) and not math.isnan(found.points[0].value)
