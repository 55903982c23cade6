"""Several labels at once: the masked focal loss and its numbers, against references computed otherwise."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics as reference
from torch.nn.functional import logsigmoid

from medtrain.config.schema import Config, LossConfig
from medtrain.datasets import labels
from medtrain.loading.batch import Batch
from medtrain.metrics.multilabel_report import best_thresholds, multilabel_report
from medtrain.tasks import multilabel
from medtrain.tasks.multilabel import Multilabel, loss_weights

NAMES = ("a", "b", "c", "d")


def batch(states: NDArray[np.int8], known: NDArray[np.int64] | None = None) -> Batch:
    counts = (states >= 0).sum(0) if known is None else known
    return Batch(torch.empty(len(states), 1, 1, 1), torch.from_numpy(states), np.arange(len(states)), counts)


def drawn(rng: np.random.Generator, samples: int = 24) -> NDArray[np.int8]:
    return rng.choice(np.array([1, 0, 2, -1, -2, -3], np.int8), (samples, len(NAMES)))


def cell_by_cell(logits: NDArray[Any], states: NDArray[np.int8], gamma: float) -> float:
    """The mean over the known cells, each computed on its own in float64."""
    total, known = 0.0, 0
    for logit, state in zip(logits.ravel().astype(float), states.ravel(), strict=True):
        if state < 0:
            continue
        target, probability = {0: 0.0, 1: 1.0, 2: 0.7}[int(state)], 1 / (1 + math.exp(-logit))
        entropy = -(target * math.log(probability) + (1 - target) * math.log(1 - probability))
        total, known = total + entropy * abs(target - probability) ** gamma, known + 1
    return total / max(known, 1)


def balanced(states: np.ndarray[Any, np.dtype[np.int8]]) -> tuple[tuple[float, float], ...]:
    counts = {name: (int((own == 0).sum()), int((own == 1).sum())) for name, own in zip(NAMES, states.T, strict=True)}
    return loss_weights("balanced", tuple(NAMES), counts)


def test_balanced_weights_give_present_and_absent_the_same_sum() -> None:
    rng = np.random.default_rng(5)
    states = np.where(rng.random((500, 4)) < 0.1, 1, drawn(rng, 500)).astype(np.int8)
    states[states == labels.SOFT] = labels.UNKNOWN
    weights = balanced(states)
    task, logits = Multilabel(NAMES, 0.0, weights=weights), torch.zeros(500, 4)
    for i in range(4):
        sums = []
        for state in (1, 0):
            one = np.full_like(states, labels.UNKNOWN)
            one[:, i] = np.where(states[:, i] == state, state, labels.UNKNOWN)
            sums.append(float(task.loss(logits, batch(one, np.ones(4, np.int64)))))
        assert sums[0] == pytest.approx(sums[1], rel=1e-5)
        known = (states[:, i] == 1).sum(), (states[:, i] == 0).sum()
        assert weights[i] == pytest.approx((2 * known[1] / sum(known), 2 * known[0] / sum(known)))
    assert labels.absent_share(0, 0) == 0.5
    soft = torch.full((1, 4), labels.SOFT, dtype=torch.int8).numpy()
    expected = -np.array(weights) @ [0.7, 0.3] * np.log(0.5)
    assert float(task.loss(logits[:1], batch(soft))) == pytest.approx(expected.mean(), rel=1e-5)


def test_a_number_weighs_as_in_the_paper() -> None:
    """alpha (1 - p) ** gamma of -log p for what is present, 1 - alpha for what is absent."""
    config = replace(Config(task="multilabel"), loss=LossConfig(focal_gamma=2.0, focal_alpha="0.25"))
    task = multilabel.make(config, ("good",), {}, frozenset())
    logits = torch.tensor([[0.4]])
    p = 1 / (1 + np.exp(-0.4))
    for state, expected in ((1, -0.25 * (1 - p) ** 2 * np.log(p)), (0, -0.75 * p**2 * np.log(1 - p))):
        states = np.full((1, 1), state, np.int8)
        assert float(task.loss(logits, batch(states, np.ones(1, np.int64)))) == pytest.approx(expected, rel=1e-5)
        report = task.metrics(task.scores(logits).numpy(), states, np.zeros(1, np.uint64))
        assert report["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("sizes", [(24,), (12, 12), (1, 5, 18), (8, 8, 8)])
def test_the_loss_is_the_mean_over_known_cells_however_they_are_spread(gamma: float, sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    states, logits = drawn(rng), rng.normal(0, 3, (24, len(NAMES))).astype(np.float32)
    task, known, start, total = Multilabel(NAMES, gamma), (states >= 0).sum(0), 0, 0.0
    for size in sizes:  # micro-batches, of whichever ranks
        part = slice(start, start + size)
        total += float(task.loss(torch.from_numpy(logits[part]), batch(states[part], known)))
        start += size
    assert total == pytest.approx(cell_by_cell(logits, states, gamma), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 0.99, 1.0, 2.0, 5.0])
def test_focal_loss_and_its_gradient_are_the_papers_for_answers_that_are_sure(gamma: float) -> None:
    """FL = -(1 - p_t) ** gamma log(p_t), Lin et al., ICCV 2017, equation 4; table 1b has gammas of 0, 0.5, 1, 2 and 5.
    The reference: autograd of it in float64, from log p_t and log(1 - p_t), whose limit for p_t -> 1 is 0."""
    values = [-100.0, -88.0, -17.5, -3.0, -1e-6, 0.0, 0.4, 5.0, 16.6, 17.5, 30.0, 100.0]
    logits = torch.tensor([[value] * 3 for value in values], requires_grad=True)
    states = np.array([[1, 0, -1]] * len(values), np.int8)  # the last is masked
    loss = Multilabel(NAMES[:3], gamma).loss(logits, batch(states, np.ones(1, np.int64)))
    loss.backward()
    exact = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    for right in (exact, -exact):
        (-logsigmoid(right) * torch.exp(gamma * logsigmoid(-right))).sum().backward()
    total = sum(
        -logsigmoid(right) * torch.exp(gamma * logsigmoid(-right))
        for value in values
        for right in torch.tensor([value, -value], dtype=torch.float64)
    )
    assert float(loss.detach()) == pytest.approx(float(total), rel=1e-5)  # type: ignore[arg-type]
    both = (logits.grad[:, 0] + logits.grad[:, 1]).double()  # type: ignore[index]
    torch.testing.assert_close(both, exact.grad, rtol=2e-3, atol=1e-6)
    assert torch.equal(logits.grad[:, 2], torch.zeros(len(values)))  # type: ignore[index]


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 2.0])
def test_a_soft_target_that_is_met_exactly_has_a_finite_gradient(gamma: float) -> None:
    """There the slope of |t - p| ** gamma is infinite below a gamma of 1; away from it, it is the formula's."""
    met = math.log(0.7 / 0.3)
    logits = torch.tensor([[met], [met + 1e-6], [met - 0.2], [2.0]], requires_grad=True)
    states = np.full((4, 1), labels.SOFT, np.int8)
    Multilabel(NAMES[:1], gamma).loss(logits, batch(states, np.ones(1, np.int64))).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    exact = torch.tensor([[met - 0.2], [2.0]], dtype=torch.float64, requires_grad=True)
    entropy = -(0.7 * logsigmoid(exact) + 0.3 * logsigmoid(-exact))
    (entropy * (0.7 - exact.sigmoid()).abs() ** gamma).sum().backward()
    torch.testing.assert_close(logits.grad[2:].double(), exact.grad, rtol=1e-4, atol=1e-6)


def test_nothing_known_is_a_loss_of_zero() -> None:
    states = np.full((3, len(NAMES)), labels.UNKNOWN, np.int8)
    logits = torch.zeros(3, len(NAMES), requires_grad=True)
    loss = Multilabel(NAMES, 2.0).loss(logits, batch(states))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(logits.grad, torch.zeros(3, len(NAMES)))  # type: ignore[arg-type]


def test_an_unknown_cell_spoils_nothing() -> None:
    states = np.array([[1, -1, 0, -2]], np.int8)
    logits = torch.tensor([[1.0, torch.inf, -1.0, torch.nan]], requires_grad=True)
    loss = Multilabel(NAMES, 2.0).loss(logits, batch(states))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[0, [1, 3]] == 0).all()


def test_policies() -> None:
    states = np.array([1, 0, labels.UNKNOWN, labels.UNCERTAIN, labels.UNMENTIONED], np.int8)
    expected = {
        ("nan", "nan"): [1, 0, -1, -1, -1],
        ("zero", "nan"): [1, 0, -1, 0, -1],
        ("one", "nan"): [1, 0, -1, 1, -1],
        ("soft", "zero"): [1, 0, -1, labels.SOFT, 0],
    }
    for (uncertain, unmentioned), settled in expected.items():
        assert labels.resolve_policy(states, uncertain, unmentioned).tolist() == settled


def test_numbers_equal_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    states, scores = drawn(rng, 400), np.round(rng.random((400, len(NAMES))), 2).astype(np.float32)
    report = multilabel_report(scores, states, NAMES)
    areas = []
    for i, name in enumerate(NAMES):
        known = (states[:, i] == 0) | (states[:, i] == 1)
        truth, score = states[known, i], scores[known, i].astype(np.float64)
        row, predicted = report["per_class"][name], score >= 0.5
        areas.append(reference.roc_auc_score(truth, score))
        assert (row["known"], row["positives"]) == (known.sum(), truth.sum())
        assert row["auroc"] == pytest.approx(areas[-1], abs=1e-9)
        assert row["average_precision"] == pytest.approx(reference.average_precision_score(truth, score), abs=1e-9)
        assert row["precision"] == pytest.approx(reference.precision_score(truth, predicted), abs=1e-9)
        assert row["recall"] == pytest.approx(reference.recall_score(truth, predicted), abs=1e-9)
        assert row["f1"] == pytest.approx(reference.f1_score(truth, predicted), abs=1e-9)
    known = (states == 0) | (states == 1)
    truth, score = states[known], scores[known].astype(np.float64)
    assert report["macro_auroc"] == pytest.approx(np.mean(areas), abs=1e-9)
    assert report["micro_auroc"] == pytest.approx(reference.roc_auc_score(truth, score), abs=1e-9)
    assert report["micro_f1"] == pytest.approx(reference.f1_score(truth, score >= 0.5), abs=1e-9)
    assert (report["micro_known"], report["micro_positives"]) == (known.sum(), truth.sum())
    assert report["accuracy"] == pytest.approx(1 - reference.zero_one_loss(truth, score >= 0.5), abs=1e-9)
    inside = (score > 0) & (score < 1)  # of 0 and 1 scikit-learn takes other bounds than float64's own
    costs = np.where(truth == 1, -np.log(np.maximum(score, 2.0**-1022)), -np.log(np.maximum(1 - score, 2.0**-53)))
    assert costs[inside].mean() == pytest.approx(reference.log_loss(truth[inside], score[inside]), rel=1e-9)
    assert report["loss"] == pytest.approx(costs.mean(), rel=1e-9)


def test_the_validation_loss_is_the_training_loss() -> None:
    rng = np.random.default_rng(2)
    states, logits = rng.choice(np.array([1, 0, -1], np.int8), (30, len(NAMES))), rng.normal(0, 2, (30, len(NAMES)))
    task = Multilabel(NAMES, 2.0)
    scores = task.scores(torch.from_numpy(logits)).numpy()
    report = task.metrics(scores, states, np.arange(30, dtype=np.uint64))
    assert report["loss"] == pytest.approx(cell_by_cell(logits, states, 2.0), rel=1e-4)


def test_thresholds_have_the_highest_f1() -> None:
    rng = np.random.default_rng(3)
    states, scores = drawn(rng, 200), np.round(rng.random((200, len(NAMES))), 1)
    states[:, 3] = 0
    chosen = best_thresholds(scores, states)
    for i in range(3):
        known = (states[:, i] == 0) | (states[:, i] == 1)
        truth, score = states[known, i], scores[known, i]
        every = {limit: reference.f1_score(truth, score >= limit) for limit in np.unique(score)}
        assert every[chosen[i]] == pytest.approx(max(every.values()))
    assert chosen[3] == 0.5, "no positive"
    report = multilabel_report(scores, states, NAMES, thresholds=chosen)
    assert [row["threshold"] for row in report["per_class"].values()] == list(chosen)


def test_a_finished_run_has_thresholds_and_intervals() -> None:
    rng = np.random.default_rng(4)
    states, scores = drawn(rng, 300), rng.random((300, len(NAMES))).astype(np.float32)
    task = Multilabel(NAMES, 2.0).tune_on(scores, states)
    report = task.metrics(scores, states, np.arange(300, dtype=np.uint64))
    for row in report["per_class"].values():
        low, high = row["auroc_interval"]
        assert low < row["auroc"] < high
    for kind in ("macro", "micro"):
        low, high = report[f"{kind}_auroc_interval"]
        assert low < report[f"{kind}_auroc"] < high
    assert f"(95 % interval {report['macro_auroc_interval'][0]:.4f} to " in task.headline(report)
    assert "auroc_interval" not in Multilabel(NAMES, 2.0).metrics(scores, states, np.arange(300))["per_class"]["a"]


def test_what_is_undefined_is_none_and_counted() -> None:
    states = np.array([[1, 0, -1, 1], [0, 0, -1, 1]], np.int8)
    report = multilabel_report(np.full((2, 4), 0.4), states, NAMES)
    assert [row["auroc"] for row in report["per_class"].values()] == [0.5, None, None, None]
    assert [row["positives"] for row in report["per_class"].values()] == [1, 0, 0, 2]
    assert [row["f1"] for row in report["per_class"].values()] == [0, None, None, 0], "nothing found, nothing to find"
    assert report["macro_auroc"] == 0.5
    assert report["macro_labels"] == {
        "auroc": 1, "average_precision": 2, "precision": 0, "recall": 2, "f1": 2, "ece": 3
    }  # fmt: skip
    assert multilabel_report(np.zeros((0, 4)), np.zeros((0, 4), np.int8), NAMES)["macro_auroc"] is None


def test_the_validation_loss_weighs_as_the_training_does() -> None:
    rng = np.random.default_rng(6)
    states, logits = rng.choice(np.array([1, 0, 0, -1], np.int8), (40, 4)), rng.normal(0, 2, (40, 4))
    task = Multilabel(NAMES, 2.0, weights=balanced(states))
    scores = task.scores(torch.from_numpy(logits)).numpy()
    report = task.metrics(scores, states, np.arange(40, dtype=np.uint64))
    assert report["loss"] == pytest.approx(float(task.loss(torch.from_numpy(logits), batch(states))), rel=1e-5)


def test_what_is_right_in_training_is_a_share_of_the_known_cells() -> None:
    states = np.full((6, 4), labels.UNKNOWN, np.int8)
    states[0] = (1, 0, 0, 1)
    logits, task = torch.tensor([[1.0, -1.0, 1.0, 1.0]]).repeat(6, 1), Multilabel(NAMES, 2.0)
    assert float(task.correct(logits, batch(states))) == 0.75
    parts = [task.correct(logits[i : i + 2], batch(states[i : i + 2], (states >= 0).sum(0))) for i in (0, 2, 4)]
    assert float(sum(parts)) == 0.75, "however it is spread"


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"expected \[N, 4\] of both"):
        multilabel_report(np.zeros((2, 3)), np.zeros((2, 3), np.int8), NAMES)
