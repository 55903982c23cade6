"""metrics.abnormality_report and its task: scikit-learn's numbers, and the paper's loss cell by cell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from medtrain.datasets.labels import ABSENT, PRESENT, UNKNOWN
from medtrain.loading.batch import Batch
from medtrain.metrics.abnormality_report import abnormality_report
from medtrain.metrics.bootstrap import bootstrap_kappa
from medtrain.tasks.abnormality import Abnormality

NAMES = ("XR_ELBOW", "XR_HAND", "XR_WRIST")
WEIGHTS = ((0.59, 0.41), (0.73, 0.27), (0.51, 0.49))


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Scores [N], labels [N, 3] (one column known) and patients [N]; every tenth row is of nobody knows which state."""
    random = np.random.default_rng(seed)
    kind, state = random.integers(3, size=count), random.integers(2, size=count)
    labels = np.full((count, 3), UNKNOWN, np.int8)
    labels[np.arange(count), kind] = np.where(state == 1, PRESENT, ABSENT)
    labels[::10] = UNKNOWN
    scores = np.clip(state * 0.2 + random.random(count) * 0.8, 0, 1).astype(np.float32)
    return scores, labels, random.integers(count // 3, size=count).astype(np.uint64)


def test_every_number_is_scikit_learns() -> None:
    scores, labels, patients = drawn(400)
    report = abnormality_report(scores, labels, NAMES, patients, WEIGHTS)
    rows = {"all": (labels >= 0).any(1), **{name: labels[:, i] >= 0 for i, name in enumerate(NAMES)}}
    for name, own in rows.items():
        found = report if name == "all" else report["per_class"][name]
        truth, said = (labels[own] > 0).any(1), scores[own] > 0.5
        assert found["samples"] == own.sum() and found["abnormal"] == truth.sum()
        assert found["kappa"] == pytest.approx(reference.cohen_kappa_score(truth, said), abs=1e-12)
        assert found["auroc"] == pytest.approx(reference.roc_auc_score(truth, scores[own]), abs=1e-12)
        assert found["accuracy"] == pytest.approx(reference.accuracy_score(truth, said), abs=1e-12)
        assert found["sensitivity"] == pytest.approx(reference.recall_score(truth, said), abs=1e-12)
        assert found["specificity"] == pytest.approx(reference.recall_score(~truth, ~said), abs=1e-12)
        assert found["confusion"] == reference.confusion_matrix(truth, said).tolist()
        normalised = reference.confusion_matrix(truth, said, normalize="true")
        assert np.allclose(found["confusion_normalised"], normalised, atol=1e-12)
        for number in ("kappa", "auroc"):
            low, high = found[f"{number}_interval"]
            assert low < found[number] < high
    assert report["macro_kappa"] == pytest.approx(np.mean([report["per_class"][name]["kappa"] for name in NAMES]))


def test_of_nothing_there_is_nothing() -> None:
    report = abnormality_report(np.zeros(0), np.zeros((0, 3), np.int8), NAMES, np.zeros(0, np.uint64), WEIGHTS)
    assert (report["samples"], report["kappa"], report["loss"]) == (0, None, None)
    one = abnormality_report([0.7], [[1, -1, -1]], NAMES, [5], WEIGHTS)
    assert (one["kappa"], one["auroc"], one["kappa_interval"]) == (None, None, [None, None])
    assert one["per_class"]["XR_HAND"]["samples"] == 0
    assert one["loss"] == pytest.approx(-0.59 * math.log(0.7))
    with pytest.raises(ValueError, match=r"expected \[N\] and \[N, 3\]"):
        abnormality_report([0.7], [[1]], NAMES, [5], WEIGHTS)


def test_the_interval_of_kappa_draws_whole_patients() -> None:
    truth, said = np.array([0, 1] * 50), np.array([0, 1] * 40 + [1, 0] * 10)
    apart = bootstrap_kappa(truth, said, np.arange(100), seed=1)
    together = bootstrap_kappa(np.repeat(truth, 4), np.repeat(said, 4), np.repeat(np.arange(100), 4), seed=1)
    assert together == pytest.approx(apart), "four images of a patient are no four patients"
    assert apart == bootstrap_kappa(truth[::-1], said[::-1], np.arange(100)[::-1], seed=1)


def papers_loss(logits: Any, labels: Any) -> float:
    """Rajpurkar et al. 2018, cell by cell in float64, summed over the images of which something is known."""
    total = 0.0
    for logit, row in zip(logits, labels, strict=True):
        for column, state in enumerate(row):
            one, zero = WEIGHTS[column]
            p = 1 / (1 + math.exp(-logit))
            total -= one * math.log(p) if state == 1 else zero * math.log(1 - p) if state == 0 else 0
    return total


@pytest.mark.parametrize("parts", [1, 3, 8])
def test_the_loss_is_the_papers_however_the_batch_is_cut(parts: int) -> None:
    _, labels, _ = drawn(24)
    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(24, 1)) * 3)
    task = Abnormality(NAMES, WEIGHTS)
    known = (labels >= 0).sum(0)
    batch = Batch(torch.empty(24), torch.from_numpy(labels), np.arange(24), known)
    cuts = np.array_split(np.arange(24), parts)
    total = sum(float(task.loss(logits[cut], batch.part(slice(cut[0], cut[-1] + 1)))) for cut in cuts)
    assert total == pytest.approx(papers_loss(logits[:, 0].tolist(), labels) / known.sum(), rel=1e-6)
    report = task.metrics(logits.sigmoid().numpy(), labels, np.arange(24).astype(np.uint64))
    assert report["loss"] == pytest.approx(papers_loss(logits[:, 0].tolist(), labels) / known.sum(), rel=1e-9)


def test_an_image_of_which_nothing_is_known_teaches_nothing() -> None:
    logits = torch.tensor([[float("inf")], [0.5]], requires_grad=True)
    batch = Batch(
        torch.empty(2), torch.tensor([[-1, -1, -1], [-1, 0, -1]], dtype=torch.int8), np.arange(2), np.array([0, 1, 0])
    )
    task = Abnormality(NAMES, WEIGHTS)
    loss = task.loss(logits, batch)
    loss.backward()
    assert logits.grad is not None and logits.grad[0] == 0 and logits.grad[1] > 0
    assert float(task.correct(logits, batch)) == 0


def test_what_is_said_of_an_image() -> None:
    task = Abnormality(NAMES)
    assert task.decide(np.array([0.875], np.float32)) == {"abnormal": True, "confidence": 0.875}
    assert task.decide(np.array([0.25], np.float32)) == {"abnormal": False, "confidence": 0.75}
