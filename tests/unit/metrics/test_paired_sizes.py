"""Whether the paired tests find a difference in 5 % of data sets without one; benchmarks/paired_tests.py has more."""

from __future__ import annotations

import numpy as np
import pytest
from clustered_scores import Scored, drawn_scores
from numpy.typing import NDArray

from medtrain.metrics.delong import delong
from medtrain.metrics.mcnemar import mcnemar
from medtrain.metrics.paired_bootstrap import difference, paired_bootstrap
from medtrain.metrics.resampled_numbers import abnormality_numbers

SETS = 200


def areas(own: Scored) -> float:
    return delong(own.first, own.second, own.positive, own.patients).p


def decisions(own: Scored) -> float:
    return mcnemar(*own.right, own.patients).p


def by_bootstrap(own: Scored) -> float:
    numbers = [abnormality_numbers(scores, own.positive, own.patients) for scores in (own.first, own.second)]
    return difference(paired_bootstrap(numbers, int(own.patients.max()) + 1, 0, rounds=99), 0, 1, 1).p


def images_alone(own: Scored) -> Scored:
    """As if each image were of a patient of its own."""
    return own._replace(patients=np.arange(len(own.first)))


@pytest.fixture(scope="module")
def nulls() -> list[Scored]:
    return [drawn_scores(seed, patients=60) for seed in range(SETS)]


def share(p_values: list[float]) -> float:
    found: NDArray[np.float64] = np.array(p_values)
    return float((found < 0.05).mean())


def test_of_nulls_one_in_twenty_is_rejected(nulls: list[Scored]) -> None:
    for test in (areas, decisions):
        assert 0.02 <= share([test(own) for own in nulls]) <= 0.09
    assert 0.01 <= share([by_bootstrap(own) for own in nulls[:100]]) <= 0.10


def test_with_images_taken_for_independent_far_more_are(nulls: list[Scored]) -> None:
    for test in (areas, decisions):
        assert share([test(images_alone(own)) for own in nulls]) > 0.10


def test_a_real_difference_is_found() -> None:
    real = [drawn_scores(seed, patients=60, better=1.0) for seed in range(50)]
    assert share([areas(own) for own in real]) > 0.9
    assert share([by_bootstrap(own) for own in real[:10]]) > 0.8
