"""metrics.mcnemar and metrics.multiple_testing, against SciPy, the formulas of the paper and calculations by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from clustered_scores import drawn_scores
from numpy.typing import NDArray
from scipy.stats import binomtest, chi2

from medtrain.metrics.mcnemar import mcnemar
from medtrain.metrics.multiple_testing import holm

NAN = math.nan


@pytest.mark.parametrize(("first_only", "second_only"), [(0, 1), (3, 9), (9, 3), (6, 6), (40, 15), (0, 0), (700, 800)])
def test_one_image_a_patient_is_the_exact_test(first_only: int, second_only: int) -> None:
    first = [1] * first_only + [0] * second_only + [1, 0] * 5
    second = [0] * first_only + [1] * second_only + [1, 0] * 5
    found = mcnemar(first, second, np.arange(len(first)))
    assert (found.first_only, found.second_only, found.exact) == (first_only, second_only, True)
    tosses = first_only + second_only
    expected = binomtest(first_only, tosses, 0.5).pvalue if tosses else 1.0
    assert found.p == pytest.approx(expected, rel=1e-9)


def by_components(first: NDArray[np.bool_], second: NDArray[np.bool_], groups: NDArray[np.int64]) -> float:
    """Obuchowski (1998): the variances of both proportions and their covariance, each by patient, with the proportion
    that both have under the null."""
    patients, images = np.unique(groups, return_counts=True)
    c, n = len(patients), len(first)
    pooled = (first.mean() + second.mean()) / 2
    one = [first[groups == p].sum() - size * pooled for p, size in zip(patients, images, strict=True)]
    other = [second[groups == p].sum() - size * pooled for p, size in zip(patients, images, strict=True)]

    def covariance(a: list[float], b: list[float]) -> float:
        return float(c / (c - 1) * sum(x * y for x, y in zip(a, b, strict=True)) / n**2)

    variance = covariance(one, one) + covariance(other, other) - 2 * covariance(one, other)
    return float(chi2.sf((first.mean() - second.mean()) ** 2 / variance, 1))


@pytest.mark.parametrize("seed", range(4))
def test_in_clusters_it_is_the_test_of_the_paper(seed: int) -> None:
    own = drawn_scores(seed, patients=40)
    first, second = own.right
    found, turned = mcnemar(first, second, own.patients), mcnemar(second, first, own.patients)
    assert not found.exact
    assert found.p == pytest.approx(by_components(first, second, own.patients), rel=1e-9)
    assert (turned.first_only, turned.second_only, turned.p) == (found.second_only, found.first_only, found.p)
    order = np.random.default_rng(seed).permutation(len(first))
    assert mcnemar(first[order], second[order], own.patients[order]) == found


def test_by_hand_in_clusters() -> None:
    """Three patients, of whom the second model has 2, 1 and -1 images more right: 2/3 * 2^2 / (4 + 1 + 1) = 4/9."""
    found = mcnemar([0, 0, 0, 1, 1], [1, 1, 1, 0, 1], np.array([0, 0, 1, 2, 2]))
    assert found.p == pytest.approx(chi2.sf(4 / 9, 1), rel=1e-12)


def test_what_says_nothing() -> None:
    none = np.array([], int)
    assert math.isnan(mcnemar(none, none, none).p)
    assert math.isnan(mcnemar([1, 0], [0, 0], np.array([0, 0])).p), "one patient"
    assert mcnemar([1, 0, 1], [1, 0, 1], np.array([0, 0, 1])).p == 1
    assert mcnemar([1, 0, 1], [0, 1, 1], np.array([0, 0, 1])).p == 1, "as many of either"
    with pytest.raises(ValueError, match="expected the same"):
        mcnemar([1, 0], [1], np.array([0, 1]))
    with pytest.raises(ValueError, match=r"second\[1\] is 2"):
        mcnemar([1, 0], [1, 2], np.array([0, 1]))


def test_a_p_value_is_never_zero() -> None:
    zeros, ones = np.zeros(4000, int), np.ones(4000, int)
    assert 0 < mcnemar(zeros, ones, np.arange(4000)).p < 1e-300
    assert 0 < mcnemar(zeros, ones, np.arange(4000) // 2).p < 1e-300


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4 x .005, 3 x .01, 2 x .03, then not below that
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([0.02, NAN, 0.03], [0.04, NAN, 0.04]),
        ([NAN], [NAN]),
        ([], []),
    ],
)
def test_holm_by_hand(p_values: list[float], adjusted: list[float]) -> None:
    assert holm(p_values) == pytest.approx(adjusted, nan_ok=True)
