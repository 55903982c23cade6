"""Calibration of one label: against another way to compute it, on scores whose fault is known, and at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from medtrain.metrics.calibration import at_temperature, best_temperature, calibration_error


def drawn(temperature: float, count: int = 200_000) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose logits are `temperature` times too large, and truths."""
    rng = np.random.default_rng(3)
    logits = rng.normal(-1, 1.5, count)
    truth = rng.random(count) < 1 / (1 + np.exp(-logits))
    return 1 / (1 + np.exp(-temperature * logits)), truth


def test_error_of_a_label_bin_by_bin() -> None:
    scores, truth = drawn(2.0, 999)
    total = 0.0
    for i in range(15):
        inside = (scores >= i / 15) & (scores < (i + 1) / 15)
        if inside.any():
            total += inside.sum() * abs(scores[inside].mean() - truth[inside].mean())
    assert calibration_error(scores, truth) == pytest.approx(total / 999, abs=1e-12)


def test_error_at_the_edges() -> None:
    assert calibration_error([1.0, 0.0], [1, 0]) == 0
    assert calibration_error([1.0, 0.0], [0, 1]) == 1
    assert math.isnan(calibration_error([], []))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_scores_were_made_with_is_found(temperature: float) -> None:
    scores, truth = drawn(temperature)
    found = best_temperature(scores, truth)
    assert found == pytest.approx(temperature, rel=0.03)
    assert calibration_error(at_temperature(scores, found), truth) < 0.01


def test_it_is_the_minimum_of_the_cross_entropy() -> None:
    scores, truth = drawn(1.7, 500)
    by_scipy = minimize_scalar(
        lambda log_t: log_loss(truth, at_temperature(scores, math.exp(log_t))), bounds=(-3, 3), method="bounded"
    )
    assert best_temperature(scores, truth) == pytest.approx(math.exp(by_scipy.x), rel=1e-3)


def test_a_temperature_changes_no_order_and_1_nothing() -> None:
    scores = np.linspace(0, 1, 101)
    assert at_temperature(scores, 1.0) == pytest.approx(scores, abs=1e-6)
    assert np.all(np.diff(at_temperature(scores, 4.0)) > 0)
    assert np.isfinite(at_temperature(np.array([0.0, 1.0]), 0.02)).all()


def test_nothing_to_learn_from() -> None:
    assert best_temperature([], []) == 1
    assert best_temperature([0.2, 0.9], [1, 1]) == 1
    assert best_temperature([0.2, 0.9], [0, 0]) == 1
