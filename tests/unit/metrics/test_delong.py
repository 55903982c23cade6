"""metrics.delong: the fast variance is that of all pairs written out, for images alone and in clusters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from clustered_scores import Scored, drawn_scores
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from medtrain.metrics.delong import clustered_variance, delong, placements

Floats = NDArray[np.float64]


def kernel(scores: Floats, positive: NDArray[np.bool_]) -> Floats:
    """psi of every positive with every negative: 1 above, 1/2 tied, 0 below."""
    against = scores[positive][:, None] - scores[~positive][None, :]
    return np.where(against > 0, 1.0, np.where(against == 0, 0.5, 0.0))


def by_all_pairs(own: Scored) -> float:
    """Obuchowski's variance of the difference (1997): var(A) + var(B) - 2 cov(A, B), patient by patient."""
    patients = np.unique(own.patients)
    of, against = own.patients[own.positive], own.patients[~own.positive]
    pairs = [kernel(scores, own.positive) for scores in (own.first, own.second)]
    areas = [psi.mean() for psi in pairs]
    m, n = pairs[0].shape
    i10, i01 = len(np.unique(of)), len(np.unique(against))
    x, y = np.zeros((2, len(patients))), np.zeros((2, len(patients)))
    for model, psi in enumerate(pairs):
        for i, patient in enumerate(patients):
            mine, theirs = of == patient, against == patient
            x[model, i] = psi.mean(1)[mine].sum() - mine.sum() * areas[model]
            y[model, i] = psi.mean(0)[theirs].sum() - theirs.sum() * areas[model]

    def covariance(r: int, s: int) -> float:
        s10 = i10 / ((i10 - 1) * m) * (x[r] @ x[s])
        s01 = i01 / ((i01 - 1) * n) * (y[r] @ y[s])
        s11 = len(patients) / (len(patients) - 1) * (x[r] @ y[s] + x[s] @ y[r])
        return float(s10 / m + s01 / n + s11 / (m * n))

    return covariance(0, 0) + covariance(1, 1) - 2 * covariance(0, 1)


def variance_of(own: Scored) -> float:
    """As delong has it."""
    first, second = (placements(scores, own.positive) for scores in (own.first, own.second))
    difference = second.positives.mean() - first.positives.mean()
    distances = [b - a - difference for a, b in zip(first, second, strict=True)]
    return clustered_variance(*distances, own.patients[own.positive], own.patients[~own.positive])[0]


@pytest.mark.parametrize("seed", range(4))
def test_the_variance_in_clusters_is_that_of_all_pairs(seed: int) -> None:
    own = drawn_scores(seed, patients=25)
    rounded = own._replace(first=np.round(own.first, 1), second=np.round(own.second, 1))  # many ties
    for data in (own, rounded):
        assert variance_of(data) == pytest.approx(by_all_pairs(data), rel=1e-10)


def test_with_one_image_a_patient_it_is_the_test_of_1988() -> None:
    own = drawn_scores(5, patients=80, most_images=1)
    pairs = [kernel(scores, own.positive) for scores in (own.first, own.second)]
    s10, s01 = np.cov([psi.mean(1) for psi in pairs]), np.cov([psi.mean(0) for psi in pairs])
    m, n = pairs[0].shape
    contrast = np.array([-1, 1])
    plain = contrast @ (s10 / m + s01 / n) @ contrast
    assert variance_of(own) == pytest.approx(plain, rel=1e-10)
    found = delong(own.first, own.second, own.positive, own.patients)
    parts = contrast @ s10 @ contrast / m, contrast @ s01 @ contrast / n  # Welch and Satterthwaite
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / (m - 1) + parts[1] ** 2 / (n - 1))
    t = found.difference / math.sqrt(plain)
    assert found.p == pytest.approx(2 * student.sf(abs(t), degrees), rel=1e-9)
    half = student.ppf(0.975, degrees) * math.sqrt(plain)
    assert found.interval == pytest.approx((found.difference - half, found.difference + half), rel=1e-9)
    assert found.first == pytest.approx(roc_auc_score(own.positive, own.first))
    assert found.second == pytest.approx(roc_auc_score(own.positive, own.second))


# Two positives and two negatives. First: shares of negatives below the positives 1 and 1/2, of positives above the
# negatives 1/2 and 1, AUROC 3/4. Second: all of them 1. The distances to the difference of 1/4 are -1/4, 1/4 for the
# positives and 1/4, -1/4 for the negatives, and so the variance is 2 (1/8) / 4 + 2 (1/8) / 4 = 1/8 of images alone. Two
# patients with a positive and a negative each add 2 * 2 * (sum of products) / 4 = twice the sum of products over two.
@pytest.mark.parametrize(
    ("positives", "negatives", "variance"),
    [([0, 1], [2, 3], 1 / 8), ([0, 1], [1, 0], 1 / 8 + (1 / 16 + 1 / 16)), ([0, 1], [0, 1], 0)],
)
def test_by_hand(positives: list[int], negatives: list[int], variance: float) -> None:
    first, second = np.array([0.9, 0.4, 0.5, 0.1]), np.array([0.9, 0.8, 0.5, 0.1])
    positive = np.array([1, 1, 0, 0], bool)
    places, others = placements(first, positive), placements(second, positive)
    assert [own.tolist() for own in places] == [[1, 0.5], [0.5, 1]]
    assert [own.tolist() for own in others] == [[1, 1], [1, 1]]
    distances = [other - own - 0.25 for own, other in zip(places, others, strict=True)]
    found, degrees = clustered_variance(*distances, np.array(positives), np.array(negatives))
    assert found == pytest.approx(variance, abs=1e-15)
    assert degrees == pytest.approx(2)  # (1/16 + 1/16)^2 / (1/16^2 + 1/16^2)


def test_swapped_runs_and_other_orders_give_the_same() -> None:
    own = drawn_scores(8, patients=40)
    found = delong(own.first, own.second, own.positive, own.patients, margin=0.05)
    turned = delong(own.second, own.first, own.positive, own.patients, margin=0.05)
    assert turned.difference == -found.difference
    assert turned.interval == pytest.approx((-found.interval[1], -found.interval[0]), abs=1e-15)
    assert (turned.p, turned.equivalence_p) == pytest.approx((found.p, found.equivalence_p), abs=1e-12)
    order = np.random.default_rng(1).permutation(len(own.first))
    moved = delong(own.first[order], own.second[order], own.positive[order], own.patients[order], margin=0.05)
    assert moved.interval == pytest.approx(found.interval, abs=1e-12) and moved.p == pytest.approx(found.p, abs=1e-9)
    # Ranks alone count.
    stretched = delong(own.first**3, own.second * 7 - 2, own.positive, own.patients)
    assert stretched.interval == pytest.approx(found.interval, abs=1e-12)


def test_the_same_order_of_images_is_no_difference() -> None:
    own = drawn_scores(2, patients=20)
    found = delong(own.first, own.first**2, own.positive, own.patients, margin=0.01)
    assert (found.difference, found.p) == (0, 1) and np.isnan((*found.interval, found.equivalence_p)).all()


@pytest.mark.parametrize("positive", [[0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]])
def test_too_few_positives_or_negatives_are_undefined(positive: list[int]) -> None:
    found = delong([0.1, 0.2, 0.3, 0.4, 0.5], [0.4, 0.1, 0.2, 0.3, 0.5], positive, np.arange(5), margin=0.1)
    assert math.isnan(found.first) == (sum(positive) in (0, 5)), "the AUROCs are told where there are any"
    assert all(map(math.isnan, (*found.interval, found.p, found.equivalence_p)))


def test_equivalence_is_an_interval_of_90_percent_within_the_margin() -> None:
    own = drawn_scores(3, patients=60)
    low, high = delong(own.first, own.second, own.positive, own.patients).equivalence_interval
    reach = max(-low, high)
    for margin, shown in ((reach * 1.001, True), (reach * 0.999, False)):
        assert (delong(own.first, own.second, own.positive, own.patients, margin).equivalence_p < 0.05) == shown


def test_a_p_value_is_never_zero() -> None:
    positive = np.arange(4000) % 2 == 1
    noise = np.random.default_rng(0).normal(size=4000)
    assert 0 < delong(noise, positive + noise / 1000, positive, np.arange(4000)).p < 1e-100
