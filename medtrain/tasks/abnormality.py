"""Normal or abnormal, one logit, for studies of several types: weighted cross entropy per image, Cohen's kappa."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from medtrain.config.schema import Config
from medtrain.core.console import table
from medtrain.datasets.labels import Counts, absent_share
from medtrain.loading.batch import Batch
from medtrain.metrics.abnormality_report import THRESHOLD, abnormality_report
from medtrain.metrics.intervals import interval_words

STATES = ("normal", "abnormal")
COLUMNS = {
    "samples": "samples",
    "abnormal": "abnormal",
    "kappa": "kappa",
    "95 % interval": "kappa_interval",
    "AUROC": "auroc",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}


class Abnormality:
    """Each label is a study type: an image is 1 (abnormal) or 0 (normal) in its own, and unknown in the others."""

    label = "study type"
    unit = "studies"
    figure = "confusion"
    logged_metrics: ClassVar = {"kappa": "kappa", "auroc": "AUROC", "accuracy": "accuracy"}
    outputs_probabilities = True
    accuracy_name = accuracy_key = "accuracy"
    needs_tuning = False
    outputs = 1
    output_names = ("abnormal",)

    def __init__(
        self,
        classes: tuple[str, ...],
        weights: tuple[tuple[float, float], ...] = (),
        unlearned: frozenset[str] = frozenset(),
    ) -> None:
        self.unlearned = unlearned
        self.classes = classes
        self.columns = COLUMNS
        self.weights = weights or ((1.0, 1.0),) * len(classes)

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """-W_T1 y log p - W_T0 (1 - y) log(1 - p) (Rajpurkar et al., 2018), summed / known images of the global batch.

        T is the image's study type, W_T1 the share of the normal and W_T0 that of the abnormal among its training
        images, or both are 1.
        """
        present, absent = batch.labels > 0, batch.labels == 0
        known, target = (present | absent).any(1), present.any(1).float()
        one, zero = torch.tensor(self.weights, device=logits.device, dtype=torch.float32).T
        weight = torch.where(present, one, 0.0).sum(1) + torch.where(absent, zero, 0.0).sum(1)
        safe = torch.where(known, logits[:, 0].float(), 0.0)
        losses = F.binary_cross_entropy_with_logits(safe, target, weight, reduction="none")
        return torch.where(known, losses, 0.0).sum() / max(int(batch.global_known.sum()), 1)

    def correct(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Scalar: known images that are called rightly / known images of the global batch."""
        right = (logits[:, 0] > 0) == (batch.labels > 0).any(1)
        return (right & (batch.labels >= 0).any(1)).sum() / max(int(batch.global_known.sum()), 1)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Sigmoid in float64 [B, 1]."""
        return logits.double().sigmoid()

    def metrics(
        self, scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int8], groups: npt.NDArray[np.uint64]
    ) -> dict[str, Any]:
        """`abnormality_report` of scores [N, 1]."""
        return abnormality_report(scores[:, 0], labels, self.classes, groups, self.weights)

    def tune_on(self, scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int8]) -> Abnormality:
        """Nothing is to be chosen: above 0.5 is abnormal."""
        return self

    def with_tuning_of(self, report: dict[str, Any]) -> Abnormality:
        """Nothing was chosen."""
        return self

    def decide(self, scores: npt.NDArray[np.float64]) -> dict[str, Any]:
        """Whether it is abnormal, and how sure the network is of what it says."""
        probability = float(scores[0])
        abnormal = probability > THRESHOLD
        return {"abnormal": abnormal, "confidence": probability if abnormal else 1 - probability}

    def details(self, report: dict[str, Any]) -> str:
        """The confusion matrix, each row as shares of what is true."""
        rows = zip(STATES, report["confusion_normalised"], strict=True)
        return "\n" + table(("true", *(f"predicted {name}" for name in STATES)), [(name, *own) for name, own in rows])

    def headline(self, report: dict[str, Any]) -> str:
        """Cohen's kappa with its interval, and AUROC."""
        if report["kappa"] is None:
            return "no kappa (all studies are alike, or none is known)"
        area = "" if report["auroc"] is None else f", AUROC {report['auroc']:.4f}"
        return f"kappa {report['kappa']:.4f}{interval_words(report, 'kappa')}{area}"


def make(
    config: Config,
    classes: tuple[str, ...],
    counts: Counts,
    unlearned: frozenset[str],
) -> Abnormality:
    """The task for a dataset's study types, with the weights of what training draws where the config asks for them."""
    if config.loss.focal_alpha == "none" or not counts:
        return Abnormality(classes, unlearned=unlearned)
    normal = [absent_share(*counts[name]) for name in classes]
    return Abnormality(classes, tuple((share, 1 - share) for share in normal), unlearned)
