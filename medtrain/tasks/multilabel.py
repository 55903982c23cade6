"""Several labels at once, each present, absent or unknown: masked focal loss, sigmoid, AUROC."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from medtrain.config.schema import Config
from medtrain.datasets.labels import PRESENT, SOFT, SOFT_TARGET, UNKNOWN, Counts, absent_share
from medtrain.loading.batch import Batch
from medtrain.metrics.calibration import at_temperature
from medtrain.metrics.intervals import interval_words
from medtrain.metrics.multilabel_report import (
    best_thresholds,
    chosen_temperature,
    known_cells,
    multilabel_report,
    with_calibration,
    with_intervals,
)

NEAREST_SOFT = 1e-4  # of a probability to a soft target
COLUMNS = {
    "known": "known",
    "positives": "positives",
    "AUROC": "auroc",
    "95 % interval": "auroc_interval",
    "avg precision": "average_precision",
    "threshold": "threshold",
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
    "calib. error": "ece_at_temperature",
}


class Multilabel:
    """A cell whose label is unknown counts for nothing, in the loss and in every number."""

    label = "label"
    figure = "auroc"
    logged_metrics: ClassVar = {
        "macro_auroc": "AUROC",
        "macro_f1": "F1",
        "macro_precision": "precision",
        "macro_recall": "recall",
    }
    outputs_probabilities = True
    accuracy_name = accuracy_key = "accuracy"
    needs_tuning = True

    def __init__(
        self,
        classes: tuple[str, ...],
        gamma: float,
        thresholds: tuple[float, ...] = (),
        temperature: float = 1.0,
        weights: tuple[tuple[float, float], ...] = (),
        unlearned: frozenset[str] = frozenset(),
        unit: str = "images",
    ) -> None:
        self.unlearned = unlearned
        self.unit = unit
        self.classes = self.output_names = classes
        self.weights = weights
        self.thresholds = thresholds
        self.temperature = temperature
        self.columns = COLUMNS
        self.outputs = len(classes)
        self.gamma = gamma

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Focal loss (Lin et al., ICCV 2017) summed over the known cells / known cells of the global batch.

        The weight is |target - probability| ** gamma, which for the targets 0 and 1 is the paper's (see
        `focal_weights`); with `weights` [L, 2], times the first of a label for what is present and the second for what
        is absent.
        """
        known, targets = batch.labels >= 0, _targets(batch.labels)
        # Masked twice, before and after: an infinite loss times 0 would be NaN, in the value or in the gradient.
        logits = torch.where(known, logits.float(), 0.0)
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        if self.gamma:
            losses = losses * focal_weights(logits, targets, self.gamma)
        if self.weights:
            one, zero = torch.tensor(self.weights, device=losses.device).T
            losses = losses * (targets * one + (1 - targets) * zero)
        return torch.where(known, losses, 0.0).sum() / max(int(batch.global_known.sum()), 1)

    def correct(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Scalar: its known cells that are right / known cells of the global batch."""
        right = ((logits > 0) == (batch.labels > 0)) & (batch.labels >= 0)
        return right.sum() / max(int(batch.global_known.sum()), 1)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """Sigmoid in float64 [B, labels]."""
        return logits.double().sigmoid()

    def metrics(
        self, scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int8], groups: npt.NDArray[np.uint64]
    ) -> dict[str, Any]:
        """`multilabel_report` over the cells that are known for sure: a soft target is none. With thresholds and a
        temperature, which only a finished run has, also the AUROCs' intervals and what calibration leaves. A label that
        no training image shows has its counts alone (`learned` is False), and no part in what is over several but loss
        and accuracy, which are over all known cells with the weights of the training, as the training's own are."""
        report = multilabel_report(
            scores, labels, self.classes, self.gamma, self.thresholds, self.weights, self.unlearned
        )
        if self.thresholds:
            learned = self._learned(labels)
            report = with_calibration(report, scores, learned, self.temperature)
            report = with_intervals(report, scores, learned, groups)
        for i, name in enumerate(self.classes):
            if name in self.unlearned:
                known, positives = int(known_cells(labels[:, i]).sum()), int((labels[:, i] == PRESENT).sum())
                report["per_class"][name] |= {"known": known, "positives": positives, "learned": False}
        return report

    def tune_on(self, scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int8]) -> Multilabel:
        """With the threshold of each label that gives it the highest F1, and the temperature that calibrates best."""
        learned = self._learned(labels)
        return self._judging(best_thresholds(scores, learned), chosen_temperature(scores, learned))

    def with_tuning_of(self, report: dict[str, Any]) -> Multilabel:
        """With the thresholds and the temperature of a report."""
        if "temperature" not in report:
            return self
        limits = tuple(report["per_class"][name]["threshold"] for name in self.classes)
        return self._judging(limits, report["temperature"])

    def _judging(self, thresholds: tuple[float, ...], temperature: float) -> Multilabel:
        return Multilabel(self.classes, self.gamma, thresholds, temperature, self.weights, self.unlearned, self.unit)

    def _learned(self, labels: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """The labels [N, L], unknown where the training had none that was present."""
        told: npt.NDArray[np.int8] = np.where(np.isin(self.classes, list(self.unlearned)), UNKNOWN, labels).astype(
            np.int8
        )
        return told

    def decide(self, scores: npt.NDArray[np.float64]) -> dict[str, Any]:
        """The labels from their threshold on (0.5 where none was chosen), the most likely one, and what all the
        probabilities are at the temperature that was chosen; None where the training had none that was present."""
        limits = dict(zip(self.classes, self.thresholds or (0.5,) * len(self.classes), strict=True))
        learned = {
            name: float(score) for name, score in zip(self.classes, scores, strict=True) if name not in self.unlearned
        }
        present = [name for name, score in learned.items() if score >= limits[name]]
        shares = zip(self.classes, at_temperature(scores, self.temperature).tolist(), strict=True)
        calibrated = {name: share if name in learned else None for name, share in shares}
        best = max(learned, key=learned.__getitem__, default="")
        return {
            "present": present, "most likely": best, "calibrated probability": calibrated.get(best),
            "calibrated": calibrated,
        }  # fmt: skip

    def details(self, report: dict[str, Any]) -> str:
        """Nothing: the report of a test has it all."""
        return ""

    def headline(self, report: dict[str, Any]) -> str:
        """Mean AUROC with its interval, and over how many labels."""
        if report["macro_auroc"] is None:
            return "no AUROC (no label has both a positive and a negative)"
        labels = f"{report['macro_labels']['auroc']} of {len(self.classes)} labels"
        return f"mean AUROC {report['macro_auroc']:.4f}{interval_words(report, 'macro_auroc')} over {labels}"


def _targets(labels: torch.Tensor) -> torch.Tensor:
    """int8 codes -> float32 targets; unknown ones are 0, and masked."""
    return torch.where(labels == SOFT, SOFT_TARGET, labels.clamp(min=0).float())


def focal_weights(logits: torch.Tensor, targets: torch.Tensor, gamma: float) -> torch.Tensor:
    """|target - sigmoid(logit)| ** gamma, float32 of the shape of both, with gradients that are finite for any gamma.

    Of the targets 0 and 1 it is computed from the logarithm, log(1 - p_t) = logsigmoid(-x_t): 1 - p_t is 0 in float32
    from a logit of 17 on, and the slope of 0 ** gamma is infinite below a gamma of 1. A soft target may be met exactly,
    where that slope is infinite indeed: nearer than NEAREST_SOFT the weight is flat.
    """
    soft = (targets > 0) & (targets < 1)
    hard = torch.exp(gamma * F.logsigmoid(logits * (1 - 2 * targets)))
    gap = torch.where(soft, (targets - logits.sigmoid()).abs(), 1.0)
    return torch.where(soft, gap.clamp(min=NEAREST_SOFT) ** gamma, hard)


def make(
    config: Config,
    classes: tuple[str, ...],
    counts: Counts,
    unlearned: frozenset[str],
) -> Multilabel:
    """The task for a dataset's labels."""
    weights = loss_weights(config.loss.focal_alpha, classes, counts)
    return Multilabel(classes, config.loss.focal_gamma, weights=weights, unlearned=unlearned, unit=config.data.unit)


def loss_weights(focal_alpha: str, classes: tuple[str, ...], counts: Counts) -> tuple[tuple[float, float], ...]:
    """What each label's present and absent states weigh in the loss, [L, 2]; nothing where all weigh 1.

    A number is the alpha of Lin et al., ICCV 2017: alpha and 1 - alpha. Balanced weights have a mean of 1, so that the
    learning rate of unweighted ones suits them.
    """
    if focal_alpha == "balanced":
        shares = [2 * absent_share(*counts[name]) for name in classes] if counts else []
        return tuple((share, 2 - share) for share in shares)
    if focal_alpha == "none":
        return ()
    return ((float(focal_alpha), 1 - float(focal_alpha)),) * len(classes)
