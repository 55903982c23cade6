"""evaluation.paired_tests: the numbers of each kind of problem are those of its report, of the same samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clustered_scores import drawn_scores
from numpy.typing import NDArray

from medtrain.evaluation.common_images import CommonImages
from medtrain.evaluation.paired_tests import ALL, run_paired_tests
from medtrain.evaluation.study_means import study_means
from medtrain.metrics.abnormality_report import abnormality_report
from medtrain.metrics.multiclass_report import multiclass_report
from medtrain.metrics.multilabel_report import multilabel_report
from medtrain.metrics.multiple_testing import holm
from medtrain.metrics.resampled_numbers import ABNORMALITY, MULTICLASS, MULTILABEL, SCORE
from medtrain.metrics.score_report import score_report

DRAWN = drawn_scores(1, patients=40)
PEOPLE, IMAGES = DRAWN.patients, len(DRAWN.patients)
RNG = np.random.default_rng(0)


def common(
    kind: str, classes: tuple[str, ...], labels: NDArray[Any], scores: list[NDArray[np.float64]], **others: Any
) -> CommonImages:
    values: dict[str, Any] = {"studies": np.arange(IMAGES), "reports": [{}, {}], "unlearned": (), **others}
    return CommonImages(kind, classes, labels, PEOPLE, scores=scores, images=[IMAGES, IMAGES], **values)


def test_several_labels() -> None:
    labels = np.stack([DRAWN.positive, RNG.random(IMAGES) < 0.3, np.full(IMAGES, -1)], 1).astype(np.int8)
    labels[RNG.random((IMAGES, 3)) < 0.2] = -1
    scores = [np.stack([own, RNG.random(IMAGES), own], 1) for own in (DRAWN.first, DRAWN.second)]
    limits = [(0.3, 0.5, 0.5), (0.6, 0.5, 0.5)]
    names = ("a", "b", "c")
    reports = [
        multilabel_report(own, labels, names, thresholds=limit) for own, limit in zip(scores, limits, strict=True)
    ]
    found = run_paired_tests(common("multilabel", names, labels, scores, reports=reports, unlearned=("c",)), rounds=20)
    (pair,) = found.pairs
    assert tuple(pair.metrics) == MULTILABEL and found.unit == "" and found.several
    for name, own in pair.metrics.items():
        assert (own.first, own.second) == pytest.approx((reports[0][name], reports[1][name]), abs=1e-12)
    for name in ("a", "b"):
        rows = [report["per_class"][name] for report in reports]
        for tested, number in ((pair.auroc, "auroc"), *((own, number) for number, own in pair.by_label.items())):
            assert (tested[name].first, tested[name].second) == pytest.approx((rows[0][number], rows[1][number]))
    assert [*pair.by_label] == ["average_precision", "f1"]
    for rows_of in (pair.auroc, *pair.by_label.values(), pair.decisions):
        assert {*rows_of} == {"a", "b"}, "c is not learned"
    known = labels[:, 0] >= 0
    right = [(own[:, 0] >= limit[0]) == (labels[:, 0] == 1) for own, limit in zip(scores, limits, strict=True)]
    assert pair.decisions["a"].first_only == (right[0] & ~right[1] & known).sum(), "by each run's own threshold"


def test_several_classes() -> None:
    truth = RNG.integers(3, size=IMAGES)
    labels = np.eye(3, dtype=np.int8)[truth]
    labels[:5] = -1  # of five images the class is unknown
    scores = [RNG.dirichlet([1, 1, 1], IMAGES) * 0.6 + 0.4 * np.eye(3)[truth] for _ in range(2)]
    found = run_paired_tests(common("multiclass", ("x", "y", "z"), labels, scores), rounds=20)
    (pair,) = found.pairs
    reports = [multiclass_report(own[5:], truth[5:], ("x", "y", "z"), PEOPLE[5:]) for own in scores]
    assert tuple(pair.metrics) == MULTICLASS and found.samples == IMAGES - 5
    for name, own in pair.metrics.items():
        assert (own.first, own.second) == pytest.approx((reports[0][name], reports[1][name]), abs=1e-12)
    for name, tested in pair.auroc.items():
        assert tested.second == pytest.approx(reports[1]["per_class"][name]["auroc"])
    right = [own[5:].argmax(1) == truth[5:] for own in scores]
    assert set(pair.decisions) == {ALL} and pair.decisions[ALL].second_only == (right[1] & ~right[0]).sum()
    assert not pair.by_label


def test_normal_or_abnormal_is_by_study() -> None:
    studies = PEOPLE * 10 + np.arange(IMAGES) % 2
    kind = PEOPLE % 2
    labels = np.full((IMAGES, 3), -1, np.int8)
    labels[np.arange(IMAGES), kind] = DRAWN.positive
    scores = [DRAWN.first[:, None], DRAWN.second[:, None]]
    names = ("hand", "wrist", "elbow")  # there is no elbow
    found = run_paired_tests(common("abnormality", names, labels, scores, studies=studies), rounds=20)
    (pair,) = found.pairs
    reports = []
    for own in scores:
        values, truth, people = study_means(own, labels, studies, PEOPLE)
        reports.append(abnormality_report(values[:, 0], truth, names, people, ((1, 1),) * 3))
    assert tuple(pair.metrics) == ABNORMALITY and found.unit == "studies"
    assert found.samples == len(np.unique(studies)) == reports[0]["samples"]
    for name, own in pair.metrics.items():
        assert (own.first, own.second) == pytest.approx((reports[0][name], reports[1][name]), abs=1e-12)
    assert [*pair.auroc] == [*pair.by_label["kappa"]] == ["hand", "wrist"]
    for name, own in pair.by_label["kappa"].items():
        assert own.second == pytest.approx(reports[1]["per_class"][name]["kappa"])
    for name, tested in pair.auroc.items():
        assert tested.first == pytest.approx(reports[0]["per_class"][name]["auroc"])


def test_scores() -> None:
    given = RNG.normal(size=(IMAGES, 1)).astype(np.float32)
    given[3] = np.nan
    predicted = [given + RNG.normal(size=(IMAGES, 1)) for _ in range(2)]
    predicted = [np.where(np.isnan(own), 0.0, own) for own in predicted]
    found = run_paired_tests(common("score", ("score",), given, predicted), rounds=20)
    (pair,) = found.pairs
    reports = [score_report(own[:, 0], given[:, 0], PEOPLE) for own in predicted]
    assert tuple(pair.metrics) == SCORE and found.samples == IMAGES - 1
    for name, own in pair.metrics.items():
        assert (own.first, own.second) == pytest.approx((reports[0][name], reports[1][name]), abs=1e-12)
    assert not pair.auroc and not pair.decisions


def test_of_a_label_that_few_patients_have_no_average_precision_is_tested() -> None:
    labels = np.stack([np.isin(PEOPLE, range(count)) for count in (5, 6)], 1).astype(np.int8)
    scores = [RNG.random((IMAGES, 2)) for _ in range(2)]
    reports = [multilabel_report(own, labels, ("five", "six")) for own in scores]
    (pair,) = run_paired_tests(common("multilabel", ("five", "six"), labels, scores, reports=reports), rounds=20).pairs
    five, six = pair.by_label["average_precision"].values()
    assert np.isnan((five.p, *five.interval)).all() and not np.isnan((six.p, *six.interval)).any()
    assert five.first == pytest.approx(reports[0]["per_class"]["five"]["average_precision"])


def test_a_bootstrap_has_as_many_rounds_as_holm_needs() -> None:
    """Of 24 p-values of 2 / 1,001 none would be left below 5 %."""
    names = tuple(f"label {number}" for number in range(24))
    labels = np.repeat(DRAWN.positive.astype(np.int8)[:, None], 24, 1)
    better = np.repeat(np.where(DRAWN.positive, 0.9, 0.1)[:, None], 24, 1)
    scores = [np.repeat(RNG.random((IMAGES, 1)), 24, 1), better]
    reports = [multilabel_report(own, labels, names) for own in scores]
    found = run_paired_tests(common("multilabel", names, labels, scores, reports=reports))
    assert found.rounds == 1200
    assert max(holm([own.p for own in found.pairs[0].by_label["average_precision"].values()])) < 0.05


@pytest.mark.parametrize("kind", ["multiclass", "abnormality", "multilabel"])
def test_where_no_label_is_known_everything_is_undefined(kind: str) -> None:
    scores = [RNG.dirichlet([1, 1], IMAGES)[:, : 1 if kind == "abnormality" else 2] for _ in range(2)]
    labels = np.full((IMAGES, 2), -1, np.int8)
    reports = [multilabel_report(np.ones((1, 2)), np.ones((1, 2)), ("a", "b"))] * 2
    found = run_paired_tests(common(kind, ("a", "b"), labels, scores, reports=reports), margin=0.1, rounds=20)
    (pair,) = found.pairs
    assert all(np.isnan(own.p) for own in (*pair.metrics.values(), *pair.auroc.values(), *pair.decisions.values()))


def test_the_same_scores_twice_are_no_difference() -> None:
    labels = DRAWN.positive.astype(np.int8)[:, None]
    scores = [DRAWN.first[:, None]] * 2
    reports = [multilabel_report(own, labels, ("a",)) for own in scores]
    (pair,) = run_paired_tests(common("multilabel", ("a",), labels, scores, reports=reports), rounds=20).pairs
    for own in (*pair.metrics.values(), *pair.auroc.values()):
        assert (own.difference, own.p) == (0, 1)
        assert np.isnan(own.interval).all(), "all resamples are alike: that says nothing of other patients"
    assert pair.decisions["a"].p == 1
