"""metrics.intervals: where every resample gives the same, no interval without a width is stated."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from medtrain.metrics.abnormality_report import abnormality_report
from medtrain.metrics.curves import curves_of
from medtrain.metrics.intervals import ALIKE, all_or_none, independent_pairs, interval_words, known_ends, stated
from medtrain.metrics.multiclass_report import multiclass_report
from medtrain.metrics.multilabel_report import multilabel_report, with_intervals
from medtrain.metrics.score_report import score_report
from medtrain.metrics.subgroup_gaps import with_gaps

TWELVE = np.arange(12) % 2
PEOPLE = np.arange(12)


@pytest.mark.parametrize("trials", [1, 2, 6, 12, 30, 100, 5000])
def test_the_exact_interval_is_that_of_scipy(trials: int) -> None:
    for share, count in ((1.0, trials), (0.0, 0)):
        own = binomtest(count, trials).proportion_ci(0.95, "exact")
        assert all_or_none(share, trials) == pytest.approx((own.low, own.high), abs=1e-12)
    assert np.isnan(all_or_none(0.5, trials)).all() and np.isnan(all_or_none(1.0, 0)).all()


def test_published_values() -> None:
    """Tables of exact intervals have 69.15 % as the lower end of 10 of 10, and 11.57 % as the upper end of 0 of 30."""
    assert all_or_none(1, 10)[0] == pytest.approx(0.6915, abs=5e-5)
    assert all_or_none(0, 30)[1] == pytest.approx(0.1157, abs=5e-5)


@pytest.mark.parametrize("truth", [0.75, 0.8, 0.9, 0.97])
def test_it_misses_a_true_share_in_at_most_one_of_forty_where_all_are_right(truth: float) -> None:
    for trials in (6, 12, 40):
        wrong = all_or_none(1, trials)[0] > truth
        assert not wrong or binom.pmf(trials, trials, truth) <= 0.025


def test_pairs_have_each_patient_once() -> None:
    assert independent_pairs(PEOPLE, TWELVE == 1) == 6
    assert independent_pairs(PEOPLE // 2, TWELVE == 1) == 3, "each of six patients has both"
    assert independent_pairs(PEOPLE, PEOPLE == 3) == 1
    assert independent_pairs(np.array([0, 0, 1, 2]), np.array([True, False, True, False])) == 1, (
        "two, of three patients"
    )


def perfect(kind: str, people: Any) -> dict[str, Any]:
    """The report of a model that is right on twelve samples."""
    labels, sure = np.eye(2, dtype=np.int8)[TWELVE], np.where(np.eye(2)[TWELVE] == 1, 0.9, 0.1)
    if kind == "multiclass":
        return multiclass_report(sure, TWELVE, ("a", "b"), people)
    if kind == "multilabel":
        return with_intervals(multilabel_report(sure, labels, ("a", "b")), sure, labels, people)
    if kind == "abnormality":
        return abnormality_report(sure[:, 1], TWELVE[:, None], ("hand",), people, ((1, 1),))
    return score_report(np.arange(12.0), np.arange(12.0), people)


def intervals(value: Any) -> dict[str, list[Any]]:
    """Every interval of a report by its name."""
    found: dict[str, list[Any]] = {}
    for key, own in value.items():
        if key.endswith("_interval"):
            found.setdefault(key, []).append(own)
        elif isinstance(own, dict):
            for name, each in intervals(own).items():
                found.setdefault(name, []).extend(each)
    return found


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "abnormality", "score"])
def test_a_perfect_model_on_twelve_images_has_no_interval_without_width(kind: str) -> None:
    report = perfect(kind, PEOPLE)
    assert "NaN" not in json.dumps(report)
    for name, each in intervals(report).items():
        for low, high in each:
            assert (low is None and high is None) or low < high, f"{name}: {low} to {high}"
    if kind == "multiclass":
        assert (
            report["accuracy_interval"] == [pytest.approx(0.025 ** (1 / 12)), 1] == [pytest.approx(0.7354, abs=1e-4), 1]
        )
        assert report["exact_of"] == {"accuracy": 12}
        assert interval_words(report, "accuracy") == " (95 % interval 0.7354 to 1.0000, exact)"
    if kind == "multilabel":
        assert report["per_class"]["a"]["auroc_interval"] == [pytest.approx(0.025 ** (1 / 6)), 1]
        assert report["per_class"]["a"]["exact_of"] == {"auroc": 6} and report["macro_auroc_interval"] == [None, None]
        assert interval_words(report, "macro_auroc") == f" (no 95 % interval: {ALIKE})"
    if kind == "abnormality":
        assert report["auroc_interval"] == [pytest.approx(0.025 ** (1 / 6)), 1]
        assert report["kappa_interval"] == [None, None]


def test_it_is_of_patients_and_not_of_their_images() -> None:
    assert perfect("multiclass", PEOPLE // 4)["accuracy_interval"] == [pytest.approx(0.025 ** (1 / 3)), 1]
    assert perfect("multiclass", PEOPLE * 0)["accuracy_interval"] == [None, None], "one patient"


def test_curves_have_the_interval_of_the_report_and_no_band_without_width() -> None:
    report, scores = perfect("multilabel", PEOPLE), np.where(np.eye(2)[TWELVE] == 1, 0.9, 0.1)
    own = curves_of(scores, scores > 0.5, np.ones(scores.shape, bool), PEOPLE)[0]
    assert own is not None and own.exact
    assert list(own.auroc_interval) == report["per_class"]["a"]["auroc_interval"]
    assert np.isnan(own.roc_band.low).all() and np.isnan(own.precision_band.high).all()
    for point in own.points:  # six patients with the label, six without
        assert (point.value, point.exact) == (1, True) and (point.low, point.high) == all_or_none(1, 6)
    near = scores.copy()
    near[0] = near[0][::-1]
    other = curves_of(near, scores > 0.5, np.ones(scores.shape, bool), PEOPLE)[0]
    assert other is not None and not other.exact and not np.isnan(other.roc_band.low).all()


def test_a_gap_between_two_groups_that_are_all_right_has_no_interval() -> None:
    labels = np.eye(2, dtype=np.int8)[TWELVE]
    members = {"f": np.arange(12) < 6, "m": np.arange(12) >= 6}
    gap = with_gaps({"f": {"confusion": 0}, "m": {"confusion": 0}}, labels * 0.8 + 0.1, labels, PEOPLE, members,
                    np.zeros(2, bool))["f"]["gap"]  # fmt: skip
    assert gap["difference"] == 0 and gap["difference_interval"] == [None, None]


def test_reports_of_before_are_read_and_an_interval_without_width_is_none() -> None:
    old = {"accuracy": 1.0, "accuracy_interval": [1.0, 1.0]}
    assert known_ends(old["accuracy_interval"]) is None and "no 95 % interval" in interval_words(old, "accuracy")
    assert interval_words({"accuracy_interval": [0.8, 0.9]}, "accuracy") == " (95 % interval 0.8000 to 0.9000)"
    assert interval_words({"macro_auroc": 0.9}, "macro_auroc") == "", "a report without intervals"


def test_stated_keeps_what_the_bootstrap_says_where_it_has_width() -> None:
    assert stated("auroc", 1.0, (0.9, 1.0), 5) == {"auroc_interval": [0.9, 1.0]}
    assert stated("auroc", 0.5, (np.nan, np.nan), 5) == {"auroc_interval": [None, None]}
