"""One of several classes: cross entropy, softmax, accuracy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from medtrain.config.schema import Config
from medtrain.datasets.labels import Counts
from medtrain.loading.batch import Batch
from medtrain.metrics.intervals import interval_words
from medtrain.metrics.multiclass_report import multiclass_report
from medtrain.metrics.numbers import plain

LEAST = np.finfo(np.float64).tiny  # a likelihood whose logarithm is finite
COLUMNS = {"images": "support", "precision": "precision", "recall": "recall", "F1": "f1", "AUROC": "auroc"}


class Multiclass:
    """Labels are one-hot; a sample whose class is unknown counts for nothing."""

    label = "class"
    unit = "images"
    figure = "confusion"
    logged_metrics: ClassVar = {"accuracy": "accuracy"}
    outputs_probabilities = True
    accuracy_name = accuracy_key = "accuracy"
    needs_tuning = False

    def __init__(
        self, classes: tuple[str, ...], label_smoothing: float, unlearned: frozenset[str] = frozenset()
    ) -> None:
        self.unlearned = unlearned
        self.classes = self.output_names = classes
        self.columns = COLUMNS
        self.outputs = len(classes)
        self.label_smoothing = label_smoothing

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Cross entropy summed over the known samples / known samples of the global batch."""
        known = (batch.labels >= 0).all(1)
        losses = F.cross_entropy(
            logits.float(), batch.labels.argmax(1), reduction="none", label_smoothing=self.label_smoothing
        )
        return torch.where(known, losses, 0.0).sum() / max(int(batch.global_known.max()), 1)

    def correct(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Scalar: known samples whose most likely class is the true one / known samples of the global batch."""
        right = (logits.argmax(1) == batch.labels.argmax(1)) & (batch.labels >= 0).all(1)
        return right.sum() / max(int(batch.global_known.max()), 1)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Softmax in float64 [B, classes]."""
        return logits.double().softmax(1)

    def metrics(
        self, scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int8], groups: npt.NDArray[np.uint64]
    ) -> dict[str, Any]:
        """`multiclass_report` plus the `loss` of the training: cross entropy with the same label smoothing."""
        known = (labels >= 0).all(1)
        scores, targets, groups = scores[known], labels[known].argmax(1), groups[known]
        report = multiclass_report(scores, targets, self.classes, groups)
        costs = -np.log(np.maximum(np.asarray(scores, np.float64), LEAST))
        true, smoothing = costs[np.arange(len(targets)), targets], self.label_smoothing
        losses = (1 - smoothing) * true + smoothing * costs.mean(1)
        return {"loss": plain(losses.mean()) if len(losses) else None, **report}

    def tune_on(self, scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int8]) -> Multiclass:
        """Nothing is to be chosen: the most likely class is the answer."""
        return self

    def with_tuning_of(self, report: dict[str, Any]) -> Multiclass:
        """Nothing was chosen."""
        return self

    def decide(self, scores: npt.NDArray[np.float64]) -> dict[str, Any]:
        """The most likely class."""
        return {"class": self.classes[scores.argmax()], "probability": float(scores.max())}

    def details(self, report: dict[str, Any]) -> str:
        """Nothing: the report of a test has it all."""
        return ""

    def headline(self, report: dict[str, Any]) -> str:
        """Accuracy with its interval."""
        if report["accuracy"] is None:
            return "no accuracy (no image's class is known)"
        return f"accuracy {report['accuracy']:.4f}{interval_words(report, 'accuracy')}"


def make(
    config: Config,
    classes: tuple[str, ...],
    counts: Counts,
    unlearned: frozenset[str],
) -> Multiclass:
    """The task for a dataset's classes."""
    return Multiclass(classes, config.loss.label_smoothing, unlearned)
