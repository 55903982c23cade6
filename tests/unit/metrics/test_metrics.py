"""metrics.classification: against scikit-learn and against hand-computed cases."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as reference

from medtrain.metrics import classification
from medtrain.metrics.multiclass_report import multiclass_report

NAN = math.nan


def draw(seed: int, samples: int = 200, classes: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities that know something of their targets, and patients with a few samples each."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(classes, size=samples)
    logits = generator.normal(size=(samples, classes)) + 1.5 * np.eye(classes)[targets]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, targets, generator.integers(samples // 4, size=samples)


def test_importing_it_needs_numpy_alone() -> None:
    heavy = "{'sklearn', 'torch', 'pandas', 'scipy', 'matplotlib'}"
    code = "import sys; from medtrain.metrics import bootstrap, multiclass_report"
    code += f"; sys.exit(bool({heavy} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- confusion, F1, kappa ----------------------------------------------------------------------------------


def test_confusion_rows_are_the_truth() -> None:
    confusion = classification.confusion_matrix([0, 0, 1, 2], [0, 1, 1, 1], 4)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert confusion.dtype == np.int64
    assert classification.accuracy(confusion) == 0.5


def test_per_class_by_hand_is_nan_where_undefined() -> None:
    each = classification.per_class(classification.confusion_matrix([0, 0, 1, 2], [0, 1, 1, 1], 4))
    np.testing.assert_array_equal(each.support, [2, 1, 1, 0])
    np.testing.assert_allclose(each.precision, [1, 1 / 3, NAN, NAN])
    np.testing.assert_allclose(each.recall, [0.5, 1, 0, NAN])
    np.testing.assert_allclose(each.f1, [2 / 3, 0.5, 0, NAN])


def test_kappa_by_hand() -> None:
    assert classification.cohen_kappa([[20, 5], [10, 15]]) == pytest.approx(0.4)
    assert classification.cohen_kappa([[3, 0], [0, 7]]) == 1
    assert math.isnan(classification.cohen_kappa([[9, 0], [0, 0]]))


def test_no_samples_is_nan() -> None:
    empty = np.zeros((2, 2), dtype=int)
    assert math.isnan(classification.accuracy(empty)) and math.isnan(classification.cohen_kappa(empty))
    assert math.isnan(classification.brier_score(np.zeros((0, 2)), empty[0, :0]))
    assert math.isnan(classification.expected_calibration_error(np.zeros((0, 2)), empty[0, :0]))


@pytest.mark.parametrize("seed", range(5))
def test_confusion_numbers_equal_scikit_learn(seed: int) -> None:
    probabilities, targets, _ = draw(seed)
    predictions = probabilities.argmax(axis=1)
    confusion = classification.confusion_matrix(targets, predictions, 5)
    np.testing.assert_array_equal(confusion, reference.confusion_matrix(targets, predictions))
    expected = reference.precision_recall_fscore_support(targets, predictions)
    each = classification.per_class(confusion)
    for ours, theirs in zip((each.precision, each.recall, each.f1, each.support), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)  # to the last bit
    assert classification.accuracy(confusion) == pytest.approx(reference.accuracy_score(targets, predictions))
    kappa = reference.cohen_kappa_score(targets, predictions)
    assert classification.cohen_kappa(confusion) == pytest.approx(kappa, abs=4e-16)


# ---- ranking -----------------------------------------------------------------------------------------------


def test_auroc_by_hand_counts_a_tie_as_half() -> None:
    assert classification.auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]) == 0.75
    assert classification.auroc([0.5, 0.5, 0.5], [0, 1, 1]) == 0.5
    assert classification.auroc([0.2, 0.5, 0.5, 0.9], [0, 0, 1, 1]) == 3.5 / 4
    assert classification.auroc([-np.inf, np.inf, np.inf], [0, 0, 1]) == 0.75


def test_average_precision_by_hand() -> None:
    assert classification.average_precision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert classification.average_precision([0.3, 0.3, 0.3, 0.3], [0, 1, 0, 0]) == 0.25
    assert classification.average_precision([np.inf, np.inf], [0, 1]) == 0.5


def test_ranking_is_nan_where_undefined() -> None:
    assert math.isnan(classification.auroc([0.1, 0.2], [1, 1]))
    assert math.isnan(classification.auroc([0.1, 0.2], [0, 0]))
    assert math.isnan(classification.auroc([], []))
    assert math.isnan(classification.average_precision([0.1, 0.2], [0, 0]))
    assert classification.average_precision([0.1, 0.2], [1, 1]) == 1


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("decimals", [1, 2, 12])  # few decimals: many ties
def test_ranking_equals_scikit_learn(decimals: int, dtype: str) -> None:
    generator = np.random.default_rng(decimals)
    for samples in (7, 100, 3000):
        targets = generator.integers(2, size=samples)
        targets[:2] = 0, 1
        scores = np.round(generator.normal(size=samples) + targets, decimals).astype(dtype)
        assert abs(classification.auroc(scores, targets) - reference.roc_auc_score(targets, scores)) < 4e-16
        average = reference.average_precision_score(targets, scores)
        assert abs(classification.average_precision(scores, targets.astype(bool)) - average) < 4e-16


# ---- calibration -------------------------------------------------------------------------------------------


def test_calibration_by_hand() -> None:
    probabilities = [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.45, 0.55]]
    targets = [0, 1, 1, 1]
    # two bins over the upper half: (0.5, 0.75] has |2 - 1.15|, (0.75, 1] has |1 - 1.7|
    assert classification.expected_calibration_error(probabilities, targets, 4) == pytest.approx((0.85 + 0.7) / 4)
    expected = 2 * (0.1**2 + 0.8**2 + 0.4**2 + 0.45**2) / 4
    assert classification.brier_score(probabilities, targets) == pytest.approx(expected)


def test_calibration_of_certainty() -> None:
    certain = np.eye(3)[[0, 1, 2, 0]]
    assert classification.expected_calibration_error(certain, [0, 1, 2, 0]) == 0
    assert classification.expected_calibration_error(certain, [1, 2, 0, 1]) == 1
    assert classification.brier_score(certain, [1, 2, 0, 1]) == 2


def test_a_confidence_on_a_bin_edge_falls_in_the_lower_bin() -> None:
    probabilities = [[0.5, 0.5], [0.4, 0.6]]
    # in one bin the two errors would cancel: 0.5 right by 0.5 too few, 0.6 wrong by 0.6 too many
    assert classification.expected_calibration_error(probabilities, [0, 0], 2) == pytest.approx((0.5 + 0.6) / 2)


def test_brier_equals_scikit_learn() -> None:
    probabilities, targets, _ = draw(8)
    expected = sum(reference.brier_score_loss(targets == c, probabilities[:, c]) for c in range(5))
    assert classification.brier_score(probabilities, targets) == pytest.approx(expected, abs=1e-12)


# ---- the report --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_report_agrees_with_scikit_learn_and_is_json(dtype: str) -> None:
    probabilities, targets, patients = draw(9)
    probabilities = probabilities.astype(dtype)
    classes = ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand")
    report = multiclass_report(probabilities, targets, classes, patients)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    predictions = probabilities.argmax(axis=1)
    assert report["samples"] == 200
    assert report["accuracy"] == pytest.approx(reference.accuracy_score(targets, predictions))
    assert report["accuracy_interval"][0] < report["accuracy"] < report["accuracy_interval"][1]
    assert report["macro_f1"] == pytest.approx(reference.f1_score(targets, predictions, average="macro"))
    assert list(report["per_class"]) == list(classes)
    areas = [reference.roc_auc_score(targets == c, probabilities[:, c]) for c in range(5)]
    assert report["macro_auroc"] == pytest.approx(np.mean(areas), abs=1e-12)
    assert report["per_class"]["CXR"]["auroc"] == pytest.approx(areas[2], abs=1e-12)
    assert report["per_class"]["Hand"]["support"] == np.sum(targets == 4)
    assert set(report["per_class"]["Hand"]) == {"support", "precision", "recall", "f1", "auroc"}
    assert report["confusion"] == reference.confusion_matrix(targets, predictions).tolist()


def test_report_of_a_class_without_samples_says_none() -> None:
    report = multiclass_report([[0.8, 0.2, 0], [0.7, 0.3, 0]], [0, 0], ("a", "b", "c"), ["p", "q"])
    assert report["per_class"]["c"] == {
        "support": 0, "precision": None, "recall": None, "f1": None, "auroc": None
    }  # fmt: skip
    assert report["macro_f1"] == 1
    assert report["macro_auroc"] is None
    assert report["accuracy_interval"] == [pytest.approx(0.1581, abs=1e-4), 1] and report["exact_of"] == {"accuracy": 2}
    empty = multiclass_report(np.zeros((0, 2)), np.zeros(0, dtype=int), ("a", "b"), [])
    assert empty["samples"] == 0 and empty["accuracy"] is None and empty["accuracy_interval"] == [None, None]
    json.dumps(empty, allow_nan=False)


# ---- wrong input -------------------------------------------------------------------------------------------

HALF = [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: classification.confusion_matrix([0, 1], [0], 2), r"predictions has shape \(1,\); expected \(2,\)"),
        (lambda: classification.confusion_matrix([[0]], [0], 2), r"targets has shape \(1, 1\); expected \[N\]"),
        (lambda: classification.confusion_matrix([0.0], [0], 2), "targets has dtype float64; expected integers"),
        (lambda: classification.confusion_matrix([0, 1], [0, 2], 2), r"predictions\[1\] is 2; .* 0\.\.1"),
        (lambda: classification.confusion_matrix([-1], [0], 2), r"targets\[0\] is -1"),
        (lambda: classification.accuracy([[1, 2]]), r"confusion has shape \(1, 2\)"),
        (lambda: classification.per_class([[0.5]]), "of float64; expected integers"),
        (lambda: classification.auroc([0.1, NAN], [0, 1]), r"scores\[1\] is nan; expected a number"),
        (lambda: classification.auroc([0.1, 0.2], [0, 2]), r"targets\[1\] is 2; expected 0 or 1"),
        (lambda: classification.auroc([0.1, 0.2], [0, NAN]), r"targets\[1\] is nan; expected 0 or 1"),
        (lambda: classification.auroc([0.1, 0.2], [0]), r"targets has shape \(1,\); expected \(2,\)"),
        (lambda: classification.auroc([[0.1]], [0]), r"scores has shape \(1, 1\)"),
        (lambda: classification.average_precision([NAN], [1]), r"scores\[0\] is nan"),
        (
            lambda: classification.brier_score([0.5, 0.5], [0, 1]),
            r"probabilities has shape \(2,\); expected \[N, C\]",
        ),
        (lambda: classification.brier_score([[0.5, NAN], HALF[0]], [0, 1]), r"probabilities\[0, 1\] is nan"),
        (lambda: classification.brier_score([[2.0, -1.0]], [0]), r"probabilities\[0, 0\] is 2.0"),
        (lambda: classification.brier_score([[0.1, 0.2]], [0]), r"sum of probabilities\[0\] is 0.3.*softmax"),
        (lambda: classification.brier_score(HALF, [0]), r"targets has shape \(1,\); expected \(2,\)"),
        (lambda: classification.expected_calibration_error(HALF, [0, 1], 0), "bins is 0"),
        (lambda: multiclass_report(HALF, [0, 1], ("a",), [1, 2]), "expected 2 different names"),
        (lambda: multiclass_report(HALF, [0, 1], ("a", "a"), [1, 2]), "expected 2 different names"),
        (lambda: multiclass_report(HALF, [0, 2], ("a", "b"), [1, 2]), r"targets\[1\] is 2"),
    ],
)
def test_wrong_input_says_what_and_where(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
