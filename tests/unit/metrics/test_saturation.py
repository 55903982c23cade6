"""Scores of a confident network: what its logits tell apart stays apart in every number, in files, means and reports.

Right values: AUROC is the Mann-Whitney statistic of the order (Hanley and McNeil 1982), which adding a constant to all
logits does not change; a float32 sigmoid is 1 from a logit of 17 on (torchmetrics #2819). Losses by math.log1p.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from medtrain.evaluation.evaluate import _mean_of_windows, compute_task_metrics
from medtrain.evaluation.score_table import TIES, ScoreTable, read_scores, write_scores
from medtrain.loading.batch import Batch
from medtrain.metrics import calibration, classification
from medtrain.tasks.abnormality import Abnormality
from medtrain.tasks.multiclass import Multiclass
from medtrain.tasks.multilabel import Multilabel

GROUPS = np.arange(300, dtype=np.uint64)
RNG = np.random.default_rng(14)
TRUE = RNG.integers(0, 2, 300)
LOGITS = (RNG.normal(0, 2, 300) + 3 * TRUE).astype(np.float32)
PAIRS = LOGITS[TRUE == 1][:, None] - LOGITS[TRUE == 0]
AREA = ((PAIRS > 0) + (PAIRS == 0) / 2).mean()


@pytest.mark.parametrize("shift", [-95, -30, 0, 18, 25])
def test_sigmoids_of_large_logits_are_ranked_as_the_logits(shift: float) -> None:
    logits, labels = torch.tensor(LOGITS[:, None] + np.float32(shift)), TRUE[:, None].astype(np.int8)
    several, study = Multilabel(("a",), 0), Abnormality(("a",))
    report = several.metrics(several.scores(logits).numpy(), labels, GROUPS)
    assert report["macro_auroc"] == pytest.approx(AREA, abs=1e-4)
    final = several.tune_on(several.scores(logits).numpy(), labels)
    report = final.metrics(several.scores(logits).numpy(), labels, GROUPS)
    low, high = report["macro_auroc_interval"]
    assert low < AREA < high and report["per_class"]["a"]["f1"] > 0.75, "threshold and bootstrap see the order too"
    assert study.metrics(study.scores(logits).numpy(), labels, GROUPS)["auroc"] == pytest.approx(AREA, abs=1e-4)


@pytest.mark.parametrize("margin", [0, 20, 60, 300])
def test_softmax_of_any_margin_is_ranked_as_the_log_odds(margin: float) -> None:
    logits = torch.tensor(np.stack([LOGITS + np.float32(margin), np.zeros(300, np.float32)], 1))
    task, labels = Multiclass(("a", "b"), 0), np.stack([TRUE, 1 - TRUE], 1).astype(np.int8)
    report = task.metrics(task.scores(logits).numpy(), labels, GROUPS)
    assert report["macro_auroc"] == pytest.approx(AREA, abs=2e-4)


def test_equal_probabilities_stay_ties_whatever_the_other_classes_have() -> None:
    rows = np.array([[0.3, 0.2, 0.5], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1]])
    ranked = classification.rankable(rows)
    assert ranked[0, 0] == ranked[1, 0] > ranked[2, 0]
    assert classification.auroc(ranked[:, 0], [1, 0, 0]) == 0.75


def test_calls_at_a_half_are_those_of_the_logits() -> None:
    """Kappa and accuracy: a logit of 1e-9 is above 0; in float32 its sigmoid is 0.5."""
    task, logits = Abnormality(("a",)), torch.tensor([[1e-9], [-1e-9]])
    report = task.metrics(task.scores(logits).numpy(), np.array([[1], [0]], np.int8), GROUPS[:2])
    assert report["accuracy"] == report["kappa"] == 1.0


def test_predictions_on_disk_keep_every_digit(tmp_path: Path) -> None:
    scores = Multilabel(("a",), 0).scores(torch.tensor(LOGITS[:, None] + 25)).numpy()
    table = ScoreTable(GROUPS.astype("U"), np.zeros(300, TIES), TRUE[:, None].astype(np.int8), scores, ("a",), ("a",))
    write_scores(table, tmp_path / "test.csv")
    again = read_scores(tmp_path / "test.csv")
    assert again.scores.dtype == np.float64 and np.array_equal(again.scores, scores)
    assert classification.auroc(again.scores[:, 0], TRUE) == pytest.approx(AREA, abs=1e-4)


def test_means_over_windows_and_studies_are_not_rounded() -> None:
    """Two windows or images with logits 20 and 21: 1 - mean is (e^-20 + e^-21) / 2, which float32 has as 0."""
    want = (1 / (1 + math.exp(20)) + 1 / (1 + math.exp(21))) / 2
    scores = Abnormality(("a",)).scores(torch.tensor([[20.0], [21.0]])).numpy()
    windows = _mean_of_windows(scores, np.array([0, 0]))
    assert 1 - windows.values[0, 0] == pytest.approx(want, rel=1e-6)
    rows = np.zeros(4, [("study", "<u8"), ("group", "<u8")])
    rows["study"] = rows["group"] = [1, 1, 2, 2]
    values = Abnormality(("a",)).scores(torch.tensor([[20.0], [21.0], [20.0], [20.5]])).numpy()
    labels = np.array([[1], [1], [0], [0]], np.int8)
    assert compute_task_metrics(Abnormality(("a",)), values, labels, rows)["auroc"] == 1.0, (
        "the first study is the surer one"
    )


def test_losses_and_temperature_of_sure_mistakes() -> None:
    """-log(1 - sigmoid(20)) is log(1 + e^20); a float32 sigmoid gives infinity, or what it is cut off at."""
    want, sure = math.log1p(math.exp(20)), torch.full((2, 1), 20.0)
    labels = np.array([[0], [0]], np.int8)
    several, study = Multilabel(("a",), 0), Abnormality(("a",))
    for task in (several, study):
        assert task.metrics(task.scores(sure).numpy(), labels, GROUPS[:2])["loss"] == pytest.approx(want, rel=1e-6)
    one = Multiclass(("a", "b"), 0)
    logits, other = torch.tensor([[0.0, 90.0]]), np.array([[1, 0]], np.int8)
    assert one.metrics(one.scores(logits).numpy(), other, GROUPS[:1])["loss"] == pytest.approx(90.0)
    cooled = calibration.at_temperature(several.scores(sure).numpy(), 4.0)
    assert cooled == pytest.approx(1 / (1 + math.exp(-5)), rel=1e-6)


# ---- training and validation speak of the same cells ----------------------------------------------------------------


def of_training(task: Multilabel | Multiclass | Abnormality, logits: torch.Tensor, labels: np.ndarray) -> list[float]:  # type: ignore[type-arg]
    known = (labels >= 0).sum(0)
    batch = Batch(torch.empty(0), torch.tensor(labels), np.arange(len(labels)), known)
    return [float(task.loss(logits, batch)), float(task.correct(logits, batch))]


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("final", [False, True])
def test_training_and_validation_have_the_same_loss_and_accuracy(gamma: float, final: bool) -> None:
    """Of the same logits and labels: over all known cells, labels that no training image shows among them."""
    logits = torch.tensor(RNG.normal(0, 2, (60, 3)), dtype=torch.float32)
    labels = RNG.integers(-1, 2, (60, 3)).astype(np.int8)
    weights = ((0.3, 0.7), (0.5, 0.5), (0.8, 0.2))
    task = Multilabel(("a", "b", "never"), gamma, weights=weights, unlearned=frozenset(["never"]))
    loss, accuracy = of_training(task, logits, labels)
    judged = task.tune_on(task.scores(logits).numpy(), labels) if final else task
    report = judged.metrics(task.scores(logits).numpy(), labels, GROUPS[:60])
    assert report["loss"] == pytest.approx(loss, rel=1e-5)
    if not final:  # a finished run calls by thresholds of its own
        assert report["accuracy"] == pytest.approx(accuracy, rel=1e-5)
    assert report["macro_labels"]["auroc"] == 2 and report["per_class"]["never"]["learned"] is False


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_smoothed_loss_is_validated_as_it_is_trained(smoothing: float) -> None:
    logits = torch.tensor(RNG.normal(0, 2, (50, 4)), dtype=torch.float32)
    labels = np.eye(4, dtype=np.int8)[RNG.integers(0, 4, 50)]
    task = Multiclass(tuple("abcd"), smoothing)
    loss, accuracy = of_training(task, logits, labels)
    report = task.metrics(task.scores(logits).numpy(), labels, GROUPS[:50])
    assert (report["loss"], report["accuracy"]) == (pytest.approx(loss, rel=1e-5), pytest.approx(accuracy))
