"""metrics.student_t is SciPy's distribution, in its tails too."""

from __future__ import annotations

import math

import pytest
from scipy.stats import norm
from scipy.stats import t as student

from medtrain.metrics import student_t


@pytest.mark.parametrize("degrees", [1, 1.5, 2, 4.7, 33.3, 900, 5e4, 9e5])
def test_chances_and_quantiles(degrees: float) -> None:
    for value in (0.0, 0.3, 1.0, 4.0, 12.5, 30.0):
        assert student_t.two_sided(value, degrees) == pytest.approx(2 * student.sf(value, degrees), rel=1e-6)
        assert student_t.two_sided(-value, degrees) == student_t.two_sided(value, degrees)
        assert student_t.above(value, degrees) == pytest.approx(student.sf(value, degrees), rel=1e-6)
        assert student_t.above(-value, degrees) == pytest.approx(student.sf(-value, degrees), rel=1e-6)
    for level in (0.5, 0.9, 0.95):
        assert student_t.reach(level, degrees) == pytest.approx(student.ppf((1 + level) / 2, degrees), rel=1e-8)


def test_with_no_end_of_degrees_it_is_the_normal() -> None:
    for value in (0.5, 2.0, 20.0):
        assert student_t.two_sided(value, math.inf) == pytest.approx(2 * norm.sf(value), rel=1e-12)
    assert student_t.reach(0.95, math.inf) == pytest.approx(norm.ppf(0.975), rel=1e-12)
