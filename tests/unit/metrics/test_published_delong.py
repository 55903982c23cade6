"""metrics.delong on published data: areas, variances, z and p are those of pROC, to all of the digits printed there.

The data are of 113 patients with a subarachnoid haemorrhage (Turck et al., Intensive Care Medicine 2010), the results
those that pROC (Robin et al., BMC Bioinformatics 2011) states in its tests for DeLong's method.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t as student

from medtrain.metrics.delong import clustered_variance, delong, placements
from medtrain.metrics.numbers import Floats, Ints

# Of each patient the WFNS grade, and S100-beta and NDKA in micrograms a litre; by the outcome.
POOR = """
1,.07,40.34 1,.08,72.57 2,.07,21.22 2,.07,32.37 2,.09,13.67 2,.09,32.41 2,.1,9.63 2,.1,12.75 2,.11,21.48 2,.14,34.06
2,.25,8.38 2,.3,11.09 2,.41,9.85 2,.58,11.72 3,.13,17.4 4,.13,5.19 4,.16,13.2 4,.23,22.63 4,.26,15.54 4,.27,21.57
4,.48,21.93 4,.71,8.23 4,.96,7.42 5,.03,12.22 5,.12,15.96 5,.22,5.37 5,.32,14.26 5,.33,54.82 5,.35,14.04 5,.44,5.18
5,.44,15.89 5,.49,11.6 5,.52,3.87 5,.56,9.57 5,.7,12.9 5,.71,8.9 5,.74,11.67 5,.77,10.4 5,.82,47.61 5,.86,13.56
5,2.07,419.19
"""
GOOD = """
1,.04,10.42 1,.04,12.67 1,.04,13.41 1,.04,17.21 1,.05,7.75 1,.05,58.83 1,.06,7.66 1,.06,11.73 1,.07,6.29 1,.07,6.54
1,.07,7.96 1,.07,11.97 1,.08,4.61 1,.08,7.06 1,.08,10.51 1,.08,12.57 1,.09,6.39 1,.09,8.02 1,.09,14.57 1,.09,49.94
1,.1,8.09 1,.1,19.46 1,.1,27.19 1,.1,46.83 1,.11,7.63 1,.11,9.47 1,.13,3.01 1,.13,80.3 1,.14,8.54 1,.14,12.9
1,.14,18.21 1,.15,22.43 1,.16,13.12 1,.18,15.54 1,.19,12.8 1,.48,13.45 1,.5,6.79 2,.04,16.11 2,.07,11.07 2,.08,9.44
2,.08,20.75 2,.09,9.7 2,.09,12.59 2,.1,6.01 2,.1,17.86 2,.1,28.49 2,.11,6.3 2,.11,12.71 2,.13,12.98 2,.14,22.27
2,.15,8.53 2,.15,9.95 2,.15,24.58 2,.16,10.6 2,.17,12.53 2,.19,9.01 2,.43,14.34 3,.05,9.8 3,.07,11.68 3,.33,17.3
4,.16,9.81 4,.17,13.87 4,.28,9.44 4,.32,10.83 4,.34,5.03 4,.38,10.55 4,.45,41.43 4,.47,10.33 5,.24,9.83 5,.46,9.63
5,.47,6 5,.5,6.59
"""
ROWS = [[float(value) for value in row.split(",")] for row in (POOR + GOOD).split()]
TESTS = dict(zip(("wfns", "s100b", "ndka"), np.array(ROWS).T, strict=True))
POSITIVE = np.arange(len(ROWS)) < len(POOR.split())
PATIENTS = np.arange(len(ROWS))
AREAS = {"wfns": 0.823678861788618, "s100b": 0.731368563685637, "ndka": 0.611957994579946}
VARIANCES = {"wfns": 0.00146991470882363, "s100b": 0.00266868245717244, "ndka": 0.0031908105493913}
COVARIANCES = {
    ("wfns", "s100b"): 0.00119615567376754,
    ("wfns", "ndka"): -0.000532967856762438,
    ("ndka", "s100b"): -0.000756164938056579,
}
# z, p, and the 95 % interval of the first area less the second.
RESULTS = {
    ("wfns", "s100b"): (2.20898359144091, 0.0271757822291882, 0.0104061769564846, 0.174214419249478),
    ("wfns", "ndka"): (2.79777591868904, 0.00514557970691098, 0.0634011709339876, 0.3600405634833566),
    ("ndka", "s100b"): (-1.39077002573558, 0.164295175223054, -0.2876917446341914, 0.0488706064228094),
}
REACH = 1.959963984540054  # of the normal distribution, 95 %


def variance_of(distances: list[Floats], patients: Ints, positive: Floats) -> float:
    return clustered_variance(distances[0], distances[1], patients[positive], patients[~positive])[0]


def repeated(times: int) -> tuple[dict[str, Floats], Floats, Ints]:
    """The same data with so many equal images of each patient."""
    return (
        {name: np.repeat(values, times) for name, values in TESTS.items()},
        np.repeat(POSITIVE, times),
        np.repeat(PATIENTS, times),
    )


def test_the_data_are_those_of_the_paper() -> None:
    assert len(ROWS) == 113 and POSITIVE.sum() == 41


@pytest.mark.parametrize("times", [1, 3])
def test_areas_and_variances(times: int) -> None:
    """Images that repeat each other tell nothing more of a patient: clustered, all numbers stay those of one image."""
    scores, positive, patients = repeated(times)
    for name, values in scores.items():
        both = placements(values, positive)
        area = both.positives.mean()
        assert area == pytest.approx(AREAS[name], rel=1e-12)
        distances = [both.positives - area, both.negatives - area]
        assert variance_of(distances, patients, positive) == pytest.approx(VARIANCES[name], rel=1e-12)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("pair", RESULTS)
def test_differences(pair: tuple[str, str], times: int) -> None:
    scores, positive, patients = repeated(times)
    z, p, low, high = RESULTS[pair]
    own, other = (placements(scores[name], positive) for name in pair)
    difference = own.positives.mean() - other.positives.mean()
    variance = variance_of([a - b - difference for a, b in zip(own, other, strict=True)], patients, positive)
    assert difference / math.sqrt(variance) == pytest.approx(z, rel=1e-12)
    assert (VARIANCES[pair[0]] + VARIANCES[pair[1]] - variance) / 2 == pytest.approx(COVARIANCES[pair], rel=1e-11)
    assert math.erfc(abs(z) / math.sqrt(2)) == pytest.approx(p, rel=1e-12)
    ends = difference - REACH * math.sqrt(variance), difference + REACH * math.sqrt(variance)
    assert ends == pytest.approx((low, high), rel=1e-12)
    # What medtrain reports is the same z by Student's t: a little more careful than the normal distribution.
    found = delong(scores[pair[1]], scores[pair[0]], positive, patients)
    assert (found.second, found.first) == pytest.approx((AREAS[pair[0]], AREAS[pair[1]]), rel=1e-12)
    assert p < found.p < 1.3 * p
    assert found.interval[0] < low < high < found.interval[1]
    assert np.ptp(found.interval) < 1.02 * (high - low)


def test_images_that_repeat_each_other_would_be_taken_for_news_without_the_patients() -> None:
    scores, positive, _ = repeated(3)
    found = delong(scores["s100b"], scores["wfns"], positive, np.arange(len(positive)))
    assert found.p < 0.001 < RESULTS["wfns", "s100b"][1]


def test_in_clusters_by_hand() -> None:
    """Computed on paper with Obuchowski's (1997) formulas, for patients who have positives and negatives both.

    Patients A (positive 4, negative 1.5), B (positive 3, negative 2), C (positive 1, negatives 2 and 0), by the first
    test; the second puts all positives above all negatives. First test: of 12 pairs 4 + 4 + 1 are in order and none is
    tied, AUROC 9/12; second 1; the difference is 1/4. Shares of the negatives below each positive: 1, 1, 1/4; of the
    positives above each negative: A 2/3, B 2/3, C 2/3 and 1. Distances of the gaps (0, 0, 3/4; 1/3, 1/3, 1/3, 0) to
    the difference: A -1/4 and 1/12, B -1/4 and 1/12, C 1/2 and 1/12 - 1/4 = -1/6. So

        3/2 (1/16 + 1/16 + 1/4) / 9 = 1/16,   3/2 (1/144 + 1/144 + 4/144) / 16 = 1/256,
        2 * 3/2 (-1/48 - 1/48 - 1/12) / 12 = -1/32,   in all 9/256:   z = (1/4) / (3/16) = 4/3.
    """
    first, second = np.array([4, 1.5, 3, 2, 1, 2, 0]), np.array([9.0, 1, 9, 1, 9, 1, 1])
    positive, patients = np.array([1, 0, 1, 0, 1, 0, 0], bool), np.array([0, 0, 1, 1, 2, 2, 2])
    own, other = placements(first, positive), placements(second, positive)
    gaps = [b - a - 0.25 for a, b in zip(own, other, strict=True)]
    variance, degrees = clustered_variance(gaps[0], gaps[1], patients[positive], patients[~positive])
    assert variance == pytest.approx(9 / 256, rel=1e-12)
    assert degrees == pytest.approx((17 / 256) ** 2 / ((16 / 256) ** 2 / 2 + (1 / 256) ** 2 / 2), rel=1e-12)
    found = delong(first, second, positive, patients)
    assert (found.first, found.second) == (0.75, 1)
    t = 4 / 3
    assert sum(found.interval) / 2 == pytest.approx(0.25)
    assert found.p == pytest.approx(float(student.sf(t, degrees) * 2), rel=1e-9)
