"""metrics.paired_bootstrap and what it resamples: every resample built for real gives the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn import metrics as reference

from medtrain.metrics import classification, resampled_numbers
from medtrain.metrics.abnormality_report import abnormality_report
from medtrain.metrics.multiclass_report import multiclass_report
from medtrain.metrics.multilabel_report import multilabel_report
from medtrain.metrics.paired_bootstrap import PairedDraws, difference, paired_bootstrap
from medtrain.metrics.paired_difference import from_draws
from medtrain.metrics.score_report import score_report

Rows = NDArray[np.int64]
IMAGES, PATIENTS, ROUNDS = 90, 25, 40
HALF = np.full(3, 0.5)
PEOPLE = np.concatenate([np.arange(PATIENTS), np.random.default_rng(9).integers(PATIENTS, size=IMAGES - PATIENTS)])


def resamples(seed: int) -> list[Rows]:
    """The rows of each round: those of each drawn patient, one after the other."""
    generator = np.random.Generator(np.random.Philox(seed))
    rounds = [generator.integers(PATIENTS, size=PATIENTS) for _ in range(ROUNDS)]
    return [np.concatenate([np.flatnonzero(np.equal(PEOPLE, patient)) for patient in drawn]) for drawn in rounds]


def ensure_same(
    one: resampled_numbers.Numbers, other: resampled_numbers.Numbers, expected: Callable[[Rows, int], list[float]]
) -> PairedDraws:
    found = paired_bootstrap([one, other], PATIENTS, 3, ROUNDS)
    for model in (0, 1):
        assert found.observed[model] == pytest.approx(expected(np.arange(IMAGES), model), abs=1e-12, nan_ok=True)
        for rows, own in zip(resamples(3), found.drawn, strict=True):
            assert own[model] == pytest.approx(expected(rows, model), abs=1e-12, nan_ok=True)
    return found


def area(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    return float(reference.roc_auc_score(truth, scores)) if 0 < truth.sum() < len(truth) else math.nan


def precision(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    return float(reference.average_precision_score(truth, scores)) if truth.any() else math.nan


def mean(values: list[float]) -> float:
    return float(np.nanmean(values))


def drawn_labels(seed: int) -> tuple[list[NDArray[np.float64]], NDArray[np.int8]]:
    """Scores of two models with ties, and labels, of which the last is seldom known and seldom present."""
    rng = np.random.default_rng(seed)
    truth = rng.random((IMAGES, 3)) < (0.5, 0.3, 0.06)
    labels = np.where(rng.random((IMAGES, 3)) < (1, 0.7, 0.4), truth, -1).astype(np.int8)
    return [np.round(rng.random((IMAGES, 3)) * 0.7 + 0.3 * truth, 1) for _ in range(2)], labels


def test_numbers_of_several_labels() -> None:
    scores, labels = drawn_labels(0)

    def expected(rows: Rows, model: int) -> list[float]:
        values, told = scores[model][rows], labels[rows]
        own = [(told[told[:, i] >= 0, i] == 1, values[told[:, i] >= 0, i]) for i in range(3)]
        pooled = told[told >= 0] == 1, values[told >= 0]
        precisions = [precision(*one) for one in own]
        assert mean(precisions) == pytest.approx(report_of(values, told)["macro_average_precision"])
        main = [mean([area(*one) for one in own]), mean(precisions), area(*pooled), precision(*pooled)]
        others = report_of(values, told)
        f1 = [others["per_class"][name]["f1"] for name in "abc"]
        return [
            *main, *(others[name] for name in resampled_numbers.MULTILABEL[4:]),
            *precisions, *(math.nan if one is None else one for one in f1),
        ]  # fmt: skip

    def report_of(values: NDArray[np.float64], told: NDArray[np.int8]) -> dict[str, Any]:
        return multilabel_report(values, told, ("a", "b", "c"), thresholds=limits)

    limits = (0.3, 0.5, 0.7)
    numbers = [resampled_numbers.multilabel_numbers(own, labels, PEOPLE, np.array(limits)) for own in scores]
    found = ensure_same(numbers[0], numbers[1], expected)
    report, count = report_of(scores[0], labels), len(resampled_numbers.MULTILABEL)
    assert found.observed[0, :count] == pytest.approx([report[name] for name in resampled_numbers.MULTILABEL])
    counted = {name for name, value in report.items() if isinstance(value, float)} - {"loss"}
    assert counted == {*resampled_numbers.MULTILABEL}, "every number of the report"


def test_numbers_of_several_classes() -> None:
    rng = np.random.default_rng(1)
    targets = rng.integers(3, size=IMAGES)
    scores = [rng.dirichlet([1, 1, 1], IMAGES) * 0.7 + 0.3 * np.eye(3)[targets] for _ in range(2)]

    def expected(rows: Rows, model: int) -> list[float]:
        truth, values = targets[rows], scores[model][rows]
        said = values.argmax(1)
        areas = [area(truth == c, values[:, c]) for c in range(3)]
        rows_of = reference.precision_recall_fscore_support(truth, said, average="macro", zero_division=np.nan)
        return [
            reference.accuracy_score(truth, said), mean(areas), rows_of[2], *rows_of[:2],
            classification.expected_calibration_error(values, truth), classification.brier_score(values, truth),
        ]  # fmt: skip

    numbers = [resampled_numbers.multiclass_numbers(own, targets, PEOPLE) for own in scores]
    found = ensure_same(numbers[0], numbers[1], expected)
    report = multiclass_report(scores[1], targets, ("a", "b", "c"), PEOPLE)
    assert found.observed[1] == pytest.approx([report[name] for name in resampled_numbers.MULTICLASS])
    assert {name for name, value in report.items() if isinstance(value, float)} == {*resampled_numbers.MULTICLASS}


def test_numbers_of_normal_or_abnormal() -> None:
    rng = np.random.default_rng(2)
    truth, kind = rng.random(IMAGES) < 0.4, rng.integers(2, size=IMAGES)
    scores = [np.round(rng.random(IMAGES) * 0.7 + 0.3 * truth, 2) for _ in range(2)]

    def expected(rows: Rows, model: int) -> list[float]:
        values, own = scores[model][rows], truth[rows]
        said = values > 0.5
        each = [kind[rows] == number for number in (0, 1)]
        kappas = [reference.cohen_kappa_score(own[these], said[these]) for these in each]
        return [
            reference.cohen_kappa_score(own, said), area(own, values), reference.accuracy_score(own, said),
            reference.recall_score(own, said), reference.recall_score(~own, ~said),
            mean(kappas), mean([area(own[these], values[these]) for these in each]), *kappas,
        ]  # fmt: skip

    types = np.eye(2, dtype=bool)[kind]
    numbers = [resampled_numbers.abnormality_numbers(own, truth, PEOPLE, types) for own in scores]
    found = ensure_same(numbers[0], numbers[1], expected)
    labels = np.where(types, truth[:, None], -1).astype(np.int8)
    report = abnormality_report(scores[0], labels, ("hand", "wrist"), PEOPLE, ((1, 1),) * 2)
    names, kappas = resampled_numbers.ABNORMALITY, [row["kappa"] for row in report["per_class"].values()]
    assert found.observed[0] == pytest.approx([*(report[name] for name in names), *kappas])
    assert {name for name, value in report.items() if isinstance(value, float)} - {"loss"} == {*names}


def test_numbers_of_scores() -> None:
    rng = np.random.default_rng(3)
    given = rng.normal(size=IMAGES)
    predicted = [given + rng.normal(size=IMAGES) * width for width in (0.5, 0.6)]

    def expected(rows: Rows, model: int) -> list[float]:
        own, truth = predicted[model][rows], given[rows]
        squares = reference.mean_squared_error(truth, own)
        return [
            reference.mean_absolute_error(truth, own), math.sqrt(squares), reference.r2_score(truth, own),
            float(spearmanr(truth, own).statistic),
        ]  # fmt: skip

    numbers = [resampled_numbers.score_numbers(own, given, PEOPLE) for own in predicted]
    found = ensure_same(numbers[0], numbers[1], expected)
    report = score_report(predicted[0], given, PEOPLE)
    assert found.observed[0] == pytest.approx([report[name] for name in resampled_numbers.SCORE])
    assert {name for name, value in report.items() if isinstance(value, float)} - {"loss"} == {*resampled_numbers.SCORE}


def test_p_and_intervals_by_hand() -> None:
    """19 rounds and the data: 3 of 19 are 0 or below, (3 + 1) / 20 = 0.2 on that side."""
    drawn = np.array([-0.2, -0.1, 0.0, *np.linspace(0.1, 0.9, 16), math.nan])
    found = from_draws(0.5, 0.8, drawn, margin=0.6)
    assert found.p == pytest.approx(0.4) and found.difference == pytest.approx(0.3)
    assert found.interval == pytest.approx(np.quantile(drawn[:-1], [0.025, 0.975]))
    assert found.equivalence_interval == pytest.approx(np.quantile(drawn[:-1], [0.05, 0.95]))
    beyond = int((drawn >= 0.6).sum())
    assert found.equivalence_p == pytest.approx((beyond + 1) / 20)
    assert math.isnan(from_draws(0.5, 0.8, drawn).equivalence_p), "no margin"


def test_the_least_p_is_two_of_the_rounds_and_one() -> None:
    assert from_draws(0.1, 0.9, np.full(999, 0.8)).p == 2 / 1000
    assert from_draws(0.5, 0.5, np.zeros(999)).p == 1


def test_swapped_models_and_another_order_of_rows_give_the_same() -> None:
    scores, labels = drawn_labels(4)
    order = np.random.default_rng(1).permutation(IMAGES)

    def found(rows: Rows, first: int, second: int) -> list[float]:
        numbers = [resampled_numbers.multilabel_numbers(own[rows], labels[rows], PEOPLE[rows], HALF) for own in scores]
        own = difference(paired_bootstrap(numbers, PATIENTS, 0, 100), first, second, 0)
        return [own.difference, *own.interval, own.p]

    value, low, high, p = found(np.arange(IMAGES), 0, 1)
    assert found(order, 0, 1) == pytest.approx([value, low, high, p], abs=1e-12)
    assert found(np.arange(IMAGES), 1, 0) == pytest.approx([-value, -high, -low, p], abs=1e-12)


def test_what_is_undefined_says_so_and_breaks_nothing() -> None:
    scores = np.array([[0.2, 0.1], [0.7, 0.9], [0.4, 0.4], [0.3, 0.2], [0.2, 0.2], [0.1, 0.1]])
    labels = np.array([[1, 0], [0, 0], [1, 0], [0, 0], [1, 0], [0, 0]], np.int8)  # nobody has the second
    numbers = resampled_numbers.multilabel_numbers(scores, labels, np.arange(6), HALF[:2])
    draws = paired_bootstrap([numbers, numbers], 6, 0, 50)
    assert math.isnan(difference(draws, 0, 1, len(resampled_numbers.MULTILABEL) + 1).p), (
        "the average precision of a label without a positive"
    )
    assert difference(draws, 0, 1, 0).p == 1, "the mean over the labels that have an AUROC"
    of_five = resampled_numbers.multilabel_numbers(scores, labels, np.array([0, 1, 2, 3, 4, 4]), HALF[:2])
    found = difference(paired_bootstrap([of_five, of_five], 5, 0, 50), 0, 1, 0)
    assert math.isnan(found.p) and found.difference == 0, "five patients"
    nobody = resampled_numbers.multilabel_numbers(scores, np.full_like(labels, -1), np.arange(6), HALF[:2])
    assert np.isnan(nobody(np.ones(6, np.int64))).all()
    empty = resampled_numbers.score_numbers(np.empty(0), np.empty(0), np.empty(0, np.int64))
    assert np.isnan(empty(np.empty(0, np.int64))).all()
    with pytest.raises(ValueError, match="rounds is 0"):
        paired_bootstrap([numbers], 3, 0, 0)
