"""A number: mean squared error, how far predictions lie from what was given."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from medtrain.config.schema import Config
from medtrain.datasets.labels import Counts
from medtrain.loading.batch import Batch
from medtrain.metrics.intervals import interval_words
from medtrain.metrics.score_report import score_report

COLUMNS = {
    "mean abs. error": "mae",
    "95 % interval": "mae_interval",
    "rms error": "rmse",
    "R2": "r2",
    "95 % interval of R2": "r2_interval",
    "Spearman": "spearman",
}
CLOSE = 0.1  # in the unit of the scores


class Score:
    """Labels are float32 [B, 1]: the score of each sample, NaN where it has none, which counts for nothing."""

    label = "score"
    figure = "scores"
    logged_metrics: ClassVar = {"mae": "mean absolute error", "r2": "R2", "spearman": "Spearman"}
    needs_tuning = False
    outputs = 1
    output_names = ("score",)
    unlearned: frozenset[str] = frozenset()
    outputs_probabilities = False
    accuracy_name = f"within {CLOSE:g} of it"

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.columns = {unit: "samples", **COLUMNS}

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Squared errors summed / samples with a score in the global batch."""
        known = ~batch.labels.isnan()
        errors = torch.where(known, logits.float() - batch.labels, 0.0)
        return errors.square().sum() / max(int(batch.global_known.sum()), 1)

    def correct(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Scalar: samples whose prediction is CLOSE to what was given / those with a score."""
        close = (logits.float() - batch.labels).abs() <= CLOSE  # NaN is close to nothing
        return close.sum() / max(int(batch.global_known.sum()), 1)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """As they are, float64 [B, 1]."""
        return logits.double()

    def metrics(
        self, scores: npt.NDArray[np.float64], labels: npt.NDArray[Any], groups: npt.NDArray[np.uint64]
    ) -> dict[str, Any]:
        """`score_report`."""
        return score_report(scores[:, 0], labels[:, 0], groups)

    def tune_on(self, scores: npt.NDArray[np.float64], labels: npt.NDArray[Any]) -> Score:
        """Nothing is to be chosen."""
        return self

    def with_tuning_of(self, report: dict[str, Any]) -> Score:
        """Nothing was chosen."""
        return self

    def decide(self, scores: npt.NDArray[np.float64]) -> dict[str, Any]:
        """The score."""
        return {"score": float(scores[0])}

    def details(self, report: dict[str, Any]) -> str:
        """Nothing: the line has it all."""
        return ""

    def headline(self, report: dict[str, Any]) -> str:
        """Mean absolute error with its interval, explained variance, rank correlation."""
        if report["mae"] is None:
            return "no error (nothing has a score)"
        others = {"R2": report["r2"], "Spearman": report["spearman"]}
        told = "".join(f", {name} {value:.4f}" for name, value in others.items() if value is not None)
        return f"mean absolute error {report['mae']:.4f}{interval_words(report, 'mae')}{told}"


def make(config: Config, classes: tuple[str, ...], counts: Counts, unlearned: frozenset[str]) -> Score:
    """The task, whatever the labels of the dataset are."""
    return Score(config.data.unit)
