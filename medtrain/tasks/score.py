"""A number: mean squared error, how far predictions lie from what was given."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from medtrain.config.schema import Config
from medtrain.core.errors import InputError
from medtrain.datasets.labels import Counts
from medtrain.loading.batch import Batch
from medtrain.metrics.intervals import interval_words
from medtrain.metrics.score_report import score_report
from medtrain.shards import mixture
from medtrain.shards.packed_dataset import PackedDataset

COLUMNS = {
    "mean abs. error": "mae",
    "95 % interval": "mae_interval",
    "rms error": "rmse",
    "R2": "r2",
    "95 % interval of R2": "r2_interval",
    "Spearman": "spearman",
}


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
    accuracy_name, accuracy_key = "mean absolute error", "mae"  # a share within some distance would need their scale

    def __init__(self, unit: str, name: str = "score") -> None:
        self.unit, self.name = unit, name
        self.columns = {unit: "samples", **COLUMNS}

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Squared errors summed / samples with a score in the global batch."""
        known = ~batch.labels.isnan()
        errors = torch.where(known, logits.float() - batch.labels, 0.0)
        return errors.square().sum() / max(int(batch.global_known.sum()), 1)

    def correct(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Scalar: absolute errors summed / samples with a score in the global batch."""
        errors = torch.where(batch.labels.isnan(), 0.0, (logits.float() - batch.labels).abs())
        return errors.sum() / max(int(batch.global_known.sum()), 1)

    def scores(self, logits: torch.Tensor) -> torch.Tensor:
        """As they are, float64 [B, 1]."""
        return logits.double()

    def metrics(
        self, scores: npt.NDArray[np.float64], labels: npt.NDArray[Any], groups: npt.NDArray[np.uint64]
    ) -> dict[str, Any]:
        """`score_report`."""
        return score_report(scores[:, 0], labels[:, 0], groups, name=self.name)

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
    """The task; its scores have the name of their column where the dataset is of one, and else are the score."""
    try:
        named = all(
            PackedDataset.open(folder).manifest.get("task") == "score" for folder in mixture.folders(config.data)
        )
    except InputError:  # the run is read elsewhere than where its shards are
        named = False
    return Score(config.data.unit, classes[0] if named and len(classes) == 1 else "score")
