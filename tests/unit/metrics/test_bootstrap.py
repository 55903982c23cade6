"""metrics.bootstrap: every resample built for real, by brute force, gives the same intervals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from medtrain.metrics.bootstrap import AurocIntervals, bootstrap_accuracy, bootstrap_aurocs


def brute_force(
    groups: np.ndarray, seed: int, rounds: int, statistic: Callable[[np.ndarray], float]
) -> tuple[float, float]:
    """Build every resample: the samples of each drawn group, one after the other."""
    generator = np.random.Generator(np.random.Philox(seed))
    names = np.unique(groups)
    values = []
    for _ in range(rounds):
        drawn = generator.integers(len(names), size=len(names))
        values.append(statistic(np.concatenate([np.flatnonzero(groups == names[i]) for i in drawn])))
    low, high = np.nanquantile(values, [0.025, 0.975])
    return low, high


def area(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    return float(reference.roc_auc_score(positive, scores)) if 0 < positive.sum() < len(positive) else math.nan


def drawn(seed: int, samples: int = 120) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Scores with ties, targets and known cells of three labels, the last of which is rarely known."""
    rng = np.random.default_rng(seed)
    targets = rng.random((samples, 3)) < (0.5, 0.3, 0.4)
    scores = np.round(rng.random((samples, 3)) + 0.3 * targets, 1)
    return scores, targets, rng.random((samples, 3)) < (1, 0.7, 0.05)


def test_auroc_intervals_equal_brute_force_for_labels_their_mean_and_all_cells() -> None:
    scores, targets, known = drawn(3)
    groups = np.random.default_rng(1).integers(25, size=len(scores))

    def of_label(rows: NDArray[np.int64], i: int) -> float:
        own = rows[known[rows, i]]
        return area(scores[own, i], targets[own, i])

    def macro(rows: NDArray[np.int64]) -> float:
        return float(np.nanmean([of_label(rows, i) for i in range(3)]))

    def micro(rows: NDArray[np.int64]) -> float:
        cells = known[rows]
        return area(scores[rows][cells], targets[rows][cells])

    found = bootstrap_aurocs(scores, targets, known, groups, 7, 200)
    for i in range(3):
        expected = brute_force(groups, 7, 200, lambda rows, i=i: of_label(rows, i))  # type: ignore[misc]
        assert found.labels[i] == pytest.approx(expected, abs=1e-12)
    assert found.macro == pytest.approx(brute_force(groups, 7, 200, macro), abs=1e-12)
    assert found.micro == pytest.approx(brute_force(groups, 7, 200, micro), abs=1e-12)


def test_accuracy_interval_equals_brute_force() -> None:
    generator = np.random.default_rng(4)
    correct, groups = generator.random(40) < 0.8, generator.integers(9, size=40)
    expected = brute_force(groups, 1, 200, lambda rows: correct[rows].mean())
    assert bootstrap_accuracy(correct, groups, 1, 200) == pytest.approx(expected, abs=1e-12)


def test_interval_depends_on_the_seed_and_not_on_the_order_of_the_samples() -> None:
    scores, targets, known = drawn(0)
    names = np.array([f"patient{number}" for number in np.random.default_rng(5).integers(40, size=len(scores))])
    order = np.random.default_rng(1).permutation(len(scores))

    def intervals(seed: int, rows: NDArray[np.int64]) -> AurocIntervals:
        return bootstrap_aurocs(scores[rows], targets[rows], known[rows], names[rows], seed)

    first, moved, other = intervals(5, np.arange(len(order))), intervals(5, order), intervals(6, order)
    assert np.array_equal(first.labels, moved.labels)
    assert (*first.macro, *first.micro) == pytest.approx((*moved.macro, *moved.micro), abs=1e-15)
    assert not np.array_equal(first.labels, other.labels)
    low, high = first.labels[0]
    assert low < area(scores[:, 0], targets[:, 0]) < high


def test_interval_is_wider_by_patient_than_by_image() -> None:
    generator = np.random.default_rng(2)
    patients = np.repeat(np.arange(50), 10)
    correct = (generator.random(50) < 0.7)[patients]  # a patient's images are right or wrong together
    by_patient = bootstrap_accuracy(correct, patients, 0)
    by_image = bootstrap_accuracy(correct, np.arange(500), 0)
    assert by_patient[1] - by_patient[0] > 2 * (by_image[1] - by_image[0])
    narrower = bootstrap_accuracy(correct, patients, 0, level=0.5)
    assert by_patient[0] < narrower[0] < narrower[1] < by_patient[1]


def one_label(scores: list[float], targets: list[int], groups: list[str]) -> AurocIntervals:
    column = [[score] for score in scores]
    return bootstrap_aurocs(column, [[target] for target in targets], np.ones((len(scores), 1)), groups, 0, rounds=50)


def test_interval_leaves_undefined_rounds_out() -> None:
    found = one_label([0.1, 0.9, 0.2], [0, 1, 0], ["a", "b", "c"])
    for ends in (found.labels[0], found.macro, found.micro):
        assert np.isnan(ends).all(), "all rounds with the one positive patient have an AUROC of 1: that is no interval"
    found = one_label([0.1, 0.9, 0.2, 0.95], [0, 1, 0, 0], ["a", "b", "c", "d"])
    assert 0 < found.labels[0][0] < found.labels[0][1] <= 1  # rounds without the one positive patient have none
    assert np.isnan(one_label([0.1, 0.9], [0, 0], ["a", "b"]).labels).all()
    assert np.isnan(one_label([0.1, 0.9], [0, 1], ["a", "a"]).macro).all(), "one patient says nothing of the spread"
    assert all(map(math.isnan, bootstrap_accuracy([1, 0], ["a", "a"], 0)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_accuracy([1, 0], [1], 0), r"groups has shape \(1,\); expected \(2,\)"),
        (lambda: bootstrap_accuracy([1, 0], np.array(["p", None]), 0), r"groups\[1\] is None; expected a group"),
        (lambda: bootstrap_aurocs([[1], [0]], [[0], [1]], [[1], [1]], [math.nan, 1], 0), r"groups\[0\] is nan"),
        (lambda: bootstrap_accuracy([1], [1], 0, rounds=0), "rounds is 0"),
        (lambda: bootstrap_accuracy([1], [1], 0, level=95), "level 95"),
    ],
)
def test_wrong_input_says_what_and_where(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
